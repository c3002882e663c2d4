-- name: insert_events
-- Ids and the time come from the service's host. If its clock is more than 5 minutes off, the
-- database makes them instead.
insert into outbox (id, type, data, occurred_at, traceparent, audience, location_ids, category_id, user_ids, stock, item_id)
select case when abs(extract(epoch from uuid_time(id) - clock.now)) <= 300 then id else uuidv7() end, type, data,
       case when abs(extract(epoch from :occurred_at::timestamptz - clock.now)) <= 300 then :occurred_at else clock.now end, :traceparent::text, audience, locations::uuid[], category_id, users::uuid[],
       stock, item_id
  from unnest(:ids::uuid[], :types::text[], :datas::text[], :audiences::text[], :locations::text[], :categories::uuid[],
              :users::text[], :stocks::bigint[], :items::uuid[])
       with ordinality as event (id, type, data, audience, locations, category_id, users, stock, item_id, number)
 cross join (select clock_timestamp() as now) as clock
 order by number
returning id;

-- name: insert_audit
insert into audit (actor_id, action, entity, entity_id, before, after, ip_address, request_id, event_ids)
values (:actor_id, :action, :entity, :entity_id, :before::json, :after::json, :ip_address, :request_id, :event_ids);
