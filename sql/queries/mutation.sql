-- name: insert_events
insert into outbox (id, type, data, occurred_at, traceparent, audience, location_ids, category_id, user_ids, stock, item_id)
select id, type, data, :occurred_at::timestamptz, :traceparent::text, audience, locations::uuid[], category_id, users::uuid[],
       stock, item_id
  from unnest(:ids::uuid[], :types::text[], :datas::text[], :audiences::text[], :locations::text[], :categories::uuid[],
              :users::text[], :stocks::bigint[], :items::uuid[])
       with ordinality as event (id, type, data, audience, locations, category_id, users, stock, item_id, number)
 order by number;

-- name: insert_audit
insert into audit (actor_id, action, entity, entity_id, before, after, ip_address, request_id, event_ids)
values (:actor_id, :action, :entity, :entity_id, :before::json, :after::json, :ip_address, :request_id, :event_ids);
