-- PostgreSQL parses and plans each CHECK of a table anew for each statement. With 22 of them, that
-- took a quarter of PostgreSQL's time for the change of an item. Now each of the three tables has
-- one CHECK, which calls a function, and a function is prepared once a session. The rules are the
-- same, and so are most of the names that an error gives.
-- Not valid: all rows obey the rules already, so nobody waits until they were checked again. The
-- next migration checks them, while others write.
create function public.check_event(event public.outbox) returns boolean
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

create function public.check_item(item public.items) returns boolean
language plpgsql immutable
as $$
begin
  if not (char_length(item.name) between 1 and 255) then
    raise check_violation using constraint = 'items_name_check', table = 'items',
      message = 'items_name_check: a name has 1 to 255 characters';
  end if;
  if not (char_length(item.sku) between 1 and 100) then
    raise check_violation using constraint = 'items_sku_check', table = 'items',
      message = 'items_sku_check: a sku has 1 to 100 characters';
  end if;
  if not (char_length(item.serial_number) between 1 and 100) then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number has 1 to 100 characters';
  end if;
  if char_length(item.description) > 8000 then
    raise check_violation using constraint = 'items_description_check', table = 'items',
      message = 'items_description_check: a description has at most 8000 characters';
  end if;
  if item.quantity < 0 or item.reserved_quantity < 0 or item.min_quantity < 0 then
    raise check_violation using constraint = 'items_quantity_check', table = 'items',
      message = 'items_quantity_check: no quantity is negative';
  end if;
  if item.reserved_quantity > item.quantity then
    raise check_violation using constraint = 'items_reserved_quantity_check', table = 'items',
      message = 'items_reserved_quantity_check: no more units are reserved than there are';
  end if;
  if item.serial_number is not null and item.quantity > 1 then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number names one unit';
  end if;
  if item.condition not in ('new', 'excellent', 'good', 'fair', 'poor', 'damaged') then
    raise check_violation using constraint = 'items_condition_check', table = 'items',
      message = 'items_condition_check: a condition is new, excellent, good, fair, poor or damaged';
  end if;
  if item.status not in ('available', 'checked_out', 'maintenance', 'retired', 'lost') then
    raise check_violation using constraint = 'items_status_check', table = 'items',
      message = 'items_status_check: a status is available, checked_out, maintenance, retired or lost';
  end if;
  if json_typeof(item.attributes) <> 'object' then
    raise check_violation using constraint = 'items_attributes_check', table = 'items',
      message = 'items_attributes_check: attributes are a JSON object';
  end if;
  return true;
end
$$;

create function public.check_move(move public.stock_moves) returns boolean
language plpgsql immutable
as $$
begin
  if move.reason not in ('created', 'counted', 'transfer', 'checkout', 'checkin', 'deleted') then
    raise check_violation using constraint = 'stock_moves_reason_check', table = 'stock_moves',
      message = 'stock_moves_reason_check: a reason is created, counted, transfer, checkout, checkin or deleted';
  end if;
  if move.delta = 0 and move.reason not in ('created', 'deleted') then
    raise check_violation using constraint = 'stock_moves_delta_check', table = 'stock_moves',
      message = 'stock_moves_delta_check: only the first and the last move of an item may move nothing';
  end if;
  if (move.reference_id is not null) <> (move.reason in ('transfer', 'checkout', 'checkin')) then
    raise check_violation using constraint = 'stock_moves_reference_id_check', table = 'stock_moves',
      message = 'stock_moves_reference_id_check: a transfer, a checkout and a checkin name their object, and nothing else does';
  end if;
  return true;
end
$$;

alter table public.outbox
  drop constraint outbox_audience_check,
  drop constraint outbox_data_check,
  drop constraint outbox_id_time_check,
  drop constraint outbox_occurred_at_check,
  drop constraint outbox_routed_check,
  drop constraint outbox_traceparent_check,
  drop constraint outbox_type_check,
  add constraint outbox_check check (public.check_event(outbox)) not valid;

alter table public.items
  drop constraint items_attributes_check,
  drop constraint items_check,
  drop constraint items_check1,
  drop constraint items_condition_check,
  drop constraint items_description_check,
  drop constraint items_min_quantity_check,
  drop constraint items_name_check,
  drop constraint items_quantity_check,
  drop constraint items_reserved_quantity_check,
  drop constraint items_serial_number_check,
  drop constraint items_sku_check,
  drop constraint items_status_check,
  add constraint items_check check (public.check_item(items)) not valid;

alter table public.stock_moves
  drop constraint stock_moves_check,
  drop constraint stock_moves_check1,
  drop constraint stock_moves_reason_check,
  add constraint stock_moves_check check (public.check_move(stock_moves)) not valid;
