-- Writes the events of a mutation to outbox, and then its audit records. Returns the ids of the
-- events. service/records.py makes the parameters: two lists of objects, and the author.
-- The statement that changes an object calls this for the changed row. So the positions of the
-- events are drawn while the row is locked, and those of one object have the order of its changes.
-- An audit record names the events of its part of the mutation: those with the numbers `first` to
-- `last`. They are counted from 1, and those that were written before, `earlier`, come first.
-- Trap: each `->` reads the whole text again. So long texts are parameters of their own.
create or replace function public.record_mutation(events json, audits json, author json) returns uuid[]
language plpgsql volatile
as $$
declare
  event_ids uuid[] := '{}';
begin
  if events::text <> '[]' then
    with written as (
      insert into public.outbox (type, data, traceparent, audience, location_ids, category_id, user_ids, stock, item_id)
      select event.type, event.data, author ->> 'traceparent', event.audience, event.location_ids, event.category_id,
             event.user_ids, event.stock, event.item_id
        from rows from (json_to_recordset(events)
                          as (type text, data text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
                              stock bigint, item_id uuid))
             with ordinality
             as event (type, data, audience, location_ids, category_id, user_ids, stock, item_id, number)
       order by event.number
      returning outbox.id
    )
    select array_agg(written.id) into event_ids from written;
  end if;
  if audits::text <> '[]' then
    event_ids := array(select json_array_elements_text(author -> 'earlier')::uuid) || event_ids;
    insert into public.audit (actor_id, action, entity, entity_id, before, after, ip_address, request_id, event_ids)
    select (author ->> 'actor_id')::uuid, changed.action, changed.entity, changed.entity_id, changed.before, changed.after,
           author ->> 'ip_address', author ->> 'request_id', event_ids [changed.first : changed.last]
      from json_to_recordset(audits)
           as changed (action text, entity text, entity_id uuid, before json, after json, first int, last int);
  end if;
  return event_ids;
end
$$;
