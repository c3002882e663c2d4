-- name: insert_events
insert into outbox (id, type, data, occurred_at, location_ids, traceparent)
select id, type, data, :occurred_at::timestamptz, locations::uuid[], :traceparent::text
  from unnest(:ids::uuid[], :types::text[], :datas::text[], :locations::text[])
       with ordinality as event (id, type, data, locations, number)
 order by number;

-- name: insert_audit
insert into audit (actor_id, action, entity, entity_id, before, after, ip_address, request_id, event_ids)
values (:actor_id, :action, :entity, :entity_id, :before::json, :after::json, :ip_address, :request_id, :event_ids);
