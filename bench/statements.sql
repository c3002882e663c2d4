-- The statements of the benchmarks, in the form of sql/queries/.

-- name: add_user
insert into users (id, username, email, full_name, role, password_hash)
values (:id, :name, :name::text || '@example.org', 'A Person', 'admin', '!');

-- name: add_session
insert into sessions (user_id, expires_at) values (:user_id, now() + interval '1 day') returning id;

-- name: add_webhooks
-- A webhook whose location is null has no filter.
insert into webhooks (id, owner_id, url, events, secret_sealed, max_retries, retry_delay_ms, timeout_ms, filter_locations)
select id, :owner_id, url, array[:event_type::text], secret, 3, 5000, :timeout_ms,
       case when location is null then '{}' else array[location] end
  from unnest(:ids::uuid[], :urls::text[], :secrets::bytea[], :locations::uuid[]) as w (id, url, secret, location);

-- name: add_items
insert into items (name, sku, quantity, min_quantity)
select 'Hydraulic pump ' || n, 'HP-' || n, 100, 0 from generate_series(1, :count::int) as n
returning id;

-- name: write_events
-- So many events as the service writes them, at the given locations in turn, or without a location
-- if none is given. The subquery for an item's id refers to n, so each row gets an id of its own.
insert into outbox (type, data, audience, location_ids, user_ids, item_id)
select :event_type::text,
       format('{"itemId":"%s","name":"Hydraulic “Pump” %s","sku":"HP-%s","quantity":%s,"location_id":%s,"category_id":null,'
              '"changes":{"quantity":{"from":%s,"to":%s}}}',
              item.id, n, n, n % 1000, coalesce('"' || place.id || '"', 'null'), n % 1000 + 1, n % 1000),
       'inventory', array_remove(array[place.id], null), '{}', item.id
  from generate_series(1, :count::int) as n
 cross join lateral (select gen_random_uuid() as id where n > 0) as item
  left join unnest(:locations::uuid[]) with ordinality as place (id, number)
    on place.number = n % nullif(cardinality(:locations::uuid[]), 0) + 1;

-- name: write_event
insert into outbox (id, type, data, audience, location_ids, user_ids, item_id)
values (:id, :event_type, :data::text, 'inventory', array_remove(array[(:data::text::json ->> 'location_id')::uuid], null), '{}',
        (:data::text::json ->> 'itemId')::uuid);

-- name: changed_quantities
-- The events of changes of a quantity, by the item and its new quantity.
select id, (data::json ->> 'itemId') || ' ' || (data::json #>> '{changes,quantity,to}') as change
  from events
 where data like '%"quantity":{"from"%';

-- name: drained
select not exists (select from outbox) and not exists (select from deliveries) as empty;

-- name: hanging
-- The number of leased deliveries, once all events have been fanned out.
select case when exists (select from outbox) then 0 else count(*)::int end from deliveries where leased_by is not null;

-- name: relays
select count(*)::int as present, coalesce(bool_or(leader), false) as led, coalesce(sum(poll_wakes), 0)::int as poll_wakes
  from relays
 where seen_at > clock_timestamp() - interval '3 seconds';

-- name: fill_log
-- Adds events to the log, as history or, together with `fill_queue`, as a backlog. A call takes at
-- most a few hundred thousand.
with head as (
  update log_head set position = position + :count::int returning position - :count::int as position
)
insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
select head.position + n, gen_random_uuid(), head.position + n, :event_type::text,
       format('{"itemId":"%s","name":"Hydraulic “Pump” %s","sku":"HP-%s","quantity":%s,"location_id":null,"category_id":null,'
              '"changes":{"quantity":{"from":%s,"to":%s}}}', gen_random_uuid(), n, n, n % 1000, n % 1000 + 1, n % 1000),
       now(), 'inventory', '{}', '{}', 1
  from head cross join generate_series(1, :count::int) as n;

-- name: fill_attempts
-- Adds a successful attempt for each event above a position.
insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, relay_id, fence, url,
                      request_headers, started_at, connect_us, first_byte_us, total_us, status, response_headers, response_body)
select :webhook_id, position, id, type, recorded_at, 1, 'success', :webhook_id, position, 'http://127.0.0.1:8080/history',
       json_build_object('Content-Type', 'application/json', 'X-Webhook-ID', :webhook_id::uuid, 'X-Event-Type', type,
                         'webhook-id', id, 'X-Webhook-Signature', '[set]', 'webhook-signature', '[set]'),
       now(), 200, 900, 1000, 200, 'Content-Length: 2', 'ok'
  from events where position > :after;

-- name: fill_queue
-- Adds a due delivery for each event above a position.
insert into deliveries (webhook_id, position, event_id, event_type, event_at)
select :webhook_id, position, id, type, recorded_at from events where position > :after;

-- name: ended
-- The number of deliveries whose last result has been recorded.
select coalesce(sum(ended), 0)::bigint from delivery_counts;

-- name: held_by
select position, webhook_id
  from deliveries
 where leased_by in (select id from relays where pid = :pid);

-- name: still_owed
select count(*)::int
  from unnest(:webhook_ids::uuid[], :positions::bigint[]) as held (webhook_id, position)
  join deliveries as d on d.webhook_id = held.webhook_id and d.position = held.position;

-- name: transactions
select xact_commit + xact_rollback as total from pg_stat_database where datname = :name;

-- name: slowest_statements
select calls, rows, round(total_exec_time::numeric, 0)::int as ms, round((total_exec_time * 1000 / greatest(rows, 1))::numeric, 1)::float8 as us_a_row,
       (shared_blks_hit + shared_blks_read)::bigint as blocks, left(regexp_replace(query, '\s+', ' ', 'g'), 90) as query
  from pg_stat_statements
  join pg_database as d on d.oid = dbid
 where d.datname = :name
 order by total_exec_time desc
 limit :most;

-- The bare script of the drain. It moves the same rows through the same tables, with four
-- statements on one connection.

-- name: bare_fan_out
with batch as (
  select seq from outbox order by seq limit :batch
),
moved as (
  delete from outbox as o using batch where o.seq = batch.seq
  returning o.seq, o.id, o.type, o.data, o.occurred_at, o.traceparent
),
head as (
  update log_head set position = position + (select count(*) from moved) returning position
),
numbered as (
  select moved.*, head.position - count(*) over () + row_number() over (order by moved.seq) as position from moved cross join head
),
logged as (
  insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, traceparent, deliveries)
  select position, id, seq, type, data, occurred_at, 'inventory', '{}', '{}', traceparent, 1 from numbered
)
insert into deliveries (webhook_id, position, event_id, event_type, event_at)
select (:webhook_ids::uuid[])[seq % cardinality(:webhook_ids::uuid[]) + 1], position, id, type, now() from numbered;

-- name: bare_claim
with due as (
  select webhook_id, position
    from deliveries
   where webhook_id = :webhook_id and next_attempt_at <= now() and leased_by is null
   order by next_attempt_at
   limit :batch
     for update skip locked
),
claimed as (
  update deliveries as d
     set leased_by = :relay_id, lease_until = now() + interval '40 seconds', fence = nextval('fences')
    from due
   where d.webhook_id = due.webhook_id and d.position = due.position
  returning d.webhook_id, d.position, d.event_id, d.event_type, d.event_at, d.fence
)
select claimed.*, e.data
  from claimed
  join events as e on e.position = claimed.position and e.recorded_at = claimed.event_at;

-- name: bare_complete
delete from deliveries as d
 using unnest(:webhook_ids::uuid[], :positions::bigint[], :fences::bigint[]) as r (webhook_id, position, fence)
 where d.webhook_id = r.webhook_id and d.position = r.position and d.fence = r.fence;

-- name: bare_log
with logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, relay_id, fence, url,
                        request_headers, started_at, first_byte_us, total_us, status, response_headers, response_body)
  select webhook_id, position, event_id, event_type, event_at, 1, 'success', :relay_id::uuid, fence, url, headers::json, now(), 900,
         1000, 200, 'Content-Length: 2', 'ok'
    from unnest(:webhook_ids::uuid[], :positions::bigint[], :event_ids::uuid[], :event_types::text[], :event_ats::timestamptz[],
                :fences::bigint[], :urls::text[], :headers::text[])
         as r (webhook_id, position, event_id, event_type, event_at, fence, url, headers)
  returning webhook_id
)
insert into delivery_counts (webhook_id, day, status, ended, current, last_at)
select webhook_id, (now() at time zone 'UTC')::date, 'success', count(*), count(*), now() from logged group by 1 order by 1
on conflict (webhook_id, day, status) do update
   set ended = delivery_counts.ended + excluded.ended, current = delivery_counts.current + excluded.current, last_at = now();

-- The bare script of the latency benchmark: a row, a NOTIFY that names it, and a look-up of the
-- row.

-- name: bare_create
create table bare_events (id uuid not null primary key, type text not null, data text not null);

-- name: bare_write
with written as (
  insert into bare_events (id, type, data) values (:id, :event_type, :data) returning id
)
select pg_notify('bench_bare', id::text) from written;

-- name: bare_read
select type, data from bare_events where id = :id;

-- The arms of the commit benchmark.

-- name: make_notify_function
create function bench_notify() returns trigger language plpgsql as $$
begin
  perform pg_notify('jossiedb_wake', '');
  return null;
end
$$;

-- name: make_notify_trigger
create trigger bench_notify after insert on outbox for each statement execute function bench_notify();

-- name: disable_ring
alter table outbox disable trigger outbox_ring;
