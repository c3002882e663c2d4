-- Whether a row of outbox is an event that relays can read. Raises check_violation with the name of
-- the rule that the row breaks.
-- Stored: the CHECK of outbox calls it. PostgreSQL does not check rows again when the text changes.
-- PostgreSQL parses and plans each CHECK of a table anew for each statement. A function is prepared
-- once a session, so a table has one CHECK that calls one.
create or replace function public.check_event(event public.outbox) returns boolean
language plpgsql immutable
as $$
begin
  if not (event.type ~ '^[a-z][a-z0-9-]*[a-z0-9]$' and length(event.type) <= 64) then
    raise check_violation using constraint = 'outbox_type_check', table = 'outbox',
      message = 'outbox_type_check: a type has 2 to 64 small letters, digits and hyphens, and begins with a letter';
  end if;
  if not (json_typeof(event.data::json) = 'object' and octet_length(event.data) <= 65000) then
    raise check_violation using constraint = 'outbox_data_check', table = 'outbox',
      message = 'outbox_data_check: data is a JSON object of at most 65000 bytes';
  end if;
  if not (event.occurred_at >= '0001-01-01 00:00:00+00' and event.occurred_at < '10000-01-01 00:00:00+00') then
    raise check_violation using constraint = 'outbox_occurred_at_check', table = 'outbox',
      message = 'outbox_occurred_at_check: occurred_at is within the years 1 to 9999';
  end if;
  if char_length(event.traceparent) > 64 then
    raise check_violation using constraint = 'outbox_traceparent_check', table = 'outbox',
      message = 'outbox_traceparent_check: traceparent has at most 64 characters';
  end if;
  if not public.is_of_the_time(event.id, event.written_at) then
    raise check_violation using constraint = 'outbox_id_time_check', table = 'outbox',
      message = 'outbox_id_time_check: id is a UUIDv7 of the last or the next 24 hours; leave it out to get one';
  end if;
  -- The subject: either the relay derives it, or the writer has stored it.
  if event.audience is null then
    if num_nonnulls(event.category_id, event.user_ids, event.stock, event.item_id) > 0 then
      raise check_violation using constraint = 'outbox_routed_check', table = 'outbox',
        message = 'outbox_routed_check: without an audience, category_id, user_ids, stock and item_id are null';
    end if;
  elsif event.audience not in ('inventory', 'transfer', 'checkout', 'user', 'other') then
    raise check_violation using constraint = 'outbox_audience_check', table = 'outbox',
      message = 'outbox_audience_check: an audience is inventory, transfer, checkout, user or other';
  elsif event.location_ids is null or event.user_ids is null then
    raise check_violation using constraint = 'outbox_routed_check', table = 'outbox',
      message = 'outbox_routed_check: with an audience, location_ids and user_ids are not null';
  end if;
  return true;
end
$$;
