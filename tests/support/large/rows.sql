-- The rows of the large template, made by generate_series: the same each time, but ids and times.
-- tests/support/large/template.py runs it section by section, and lists the tables that each fills.

-- name: people
insert into users (username, email, full_name, role, password_hash)
select name, name || '@example.org', initcap(name), role, '!'
  from (select role || case when n = 0 then '' else '-' || n end as name, role
          from unnest(array['admin', 'supervisor', 'foreman', 'worker', 'personnel']) as role (role)
         cross join generate_series(0, 100) as n
         where role in ('worker', 'foreman') or n = 0) as person;
-- One of them has signed in 200,000 times.
insert into sessions (user_id, created_at, last_used_at, expires_at, ended_at, end_reason, user_agent, ip_address)
select id, began, began, began + interval '30 days', began + interval '1 hour', 'logout',
       'agent ' || n % 50, '192.0.2.' || n % 250
  from users, generate_series(1, 200000) as n,
       lateral (select now() - n * interval '10 seconds' as began) as session
 where username = 'admin';

-- name: places
insert into locations (name, description)
select 'Site ' || n, 'Building ' || n % 20 from generate_series(1, 200) as n;
insert into location_foremen (location_id, user_id)
select l.id, u.id
  from locations as l, users as u
 where u.username = 'foreman' and l.name in ('Site 1', 'Site 2', 'Site 3', 'Site 4', 'Site 5');
insert into categories (name) select 'Category ' || n from generate_series(1, 20) as n;
insert into categories (name, parent_id)
select 'Category ' || substr(parent.name, 10) || '.' || n, parent.id
  from categories as parent, generate_series(1, 9) as n;

-- name: items
-- 20 makers × 25 models × 50 tools: a word finds 20,000 to 50,000 items, two words some 1,000, and
-- a number few. Each tenth item is a single piece with a serial number, and each twentieth is below
-- its minimum.
with parts as (
  select array(select id from locations order by id) as places,
         array(select id from categories order by id) as categories,
         array['Hilti', 'Bosch', 'Makita', 'Festool', 'DeWalt', 'Metabo', 'Milwaukee', 'Stanley', 'Fein', 'Knipex', 'Wera', 'Wiha',
               'Gedore', 'Hazet', 'Fluke', 'Testo', 'Leica', 'Husqvarna', 'Stihl', 'Kärcher'] as makers,
         array['drill', 'hammer', 'saw', 'grinder', 'sander', 'planer', 'router', 'wrench', 'pliers', 'screwdriver', 'ladder',
               'helmet', 'gloves', 'harness', 'goggles', 'pump', 'hose', 'valve', 'cable', 'lamp', 'battery', 'charger', 'motor',
               'mixer', 'vacuum', 'compressor', 'generator', 'welder', 'torch', 'clamp', 'level', 'laser', 'tape', 'gauge',
               'meter', 'bit', 'blade', 'disc', 'chisel', 'file', 'shovel', 'rake', 'barrow', 'tarpaulin', 'rope', 'chain',
               'hook', 'pulley', 'winch', 'jack'] as tools
)
insert into items (name, sku, serial_number, description, quantity, min_quantity, condition, status, category_id, location_id,
                   created_at, updated_at)
select makers[1 + n % 20] || ' ' || 'TE ' || n / 20 % 25 || ' ' || tools[1 + n / 500 % 50] || ' ' || n,
       case when n % 10 <> 7 then 'SKU-' || n end,
       case when n % 10 = 0 then 'SN-' || lpad(n::text, 8, '0') end,
       case when n % 2 = 0 then 'Kept on shelf ' || n % 1000 || ', checked by team ' || n % 37 end,
       case when n % 10 = 0 then 1 when n % 20 = 1 then 2 else 10 + n % 90 end,
       case when n % 10 = 0 then 0 else 5 end,
       (array['new', 'excellent', 'good', 'fair', 'poor', 'damaged'])[1 + n % 6],
       (array['available', 'checked_out', 'maintenance', 'retired', 'lost'])[1 + greatest(0, n % 20 - 15)],
       case when n % 50 <> 0 then categories[1 + n % cardinality(categories)] end,
       case when n % 40 <> 0 then places[1 + n / 7 % cardinality(places)] end,
       at, at
  from generate_series(1, 1000000) as n, parts,
       lateral (select now() - (1000000 - n) * interval '2 seconds' as at) as time;

-- name: webhooks
-- `worker` owns two webhooks, and the first has the deliveries of all events. Their secrets are
-- sealed afterwards.
insert into webhooks (owner_id, url, events, secret_sealed, max_retries, retry_delay_ms, timeout_ms, created_at)
select u.id, 'http://127.0.0.1:9/' || n, array['item-created', 'item-updated', 'item-deleted', 'low-stock-alert'], '', 3, 5000,
       30000, now() - interval '20 days' + n * interval '1 second'
  from users as u, generate_series(1, 2) as n
 where u.username = 'worker';

-- name: past_partitions
do $$
declare
  parent text;
  day    date;
  child  text;
begin
  set local timezone = 'UTC';
  foreach parent in array array['events', 'attempts'] loop
    for day in select current_date - n from generate_series(1, 11) as n loop
      child := parent || '_' || to_char(day, 'YYYYMMDD');
      execute format('create table public.%I (like public.%I including defaults including constraints)', child, parent);
      execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
                     parent, child, day::timestamptz, (day + 1)::timestamptz);
    end loop;
  end loop;
end
$$;

-- name: events
-- 1,000,000 in ten days. Of 20 events one is a login, two are alerts, one is a creation, and the
-- others are changes of items.
with log as (
  select n,
         (array['user-login', 'low-stock-alert', 'low-stock-alert', 'item-created'])[1 + n % 20] as special,
         now() - (1000001 - n) * interval '860 milliseconds' as at
    from generate_series(1, 1000000) as n
),
actor as (
  select id from users where username = 'worker-1'
)
insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, stock, deliveries, recorded_at)
select n,
       (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
         || '8' || substr(md5(n::text), 4, 15))::uuid,
       n, coalesce(special, 'item-updated'),
       case when special = 'user-login' then '{"userId":"' || actor.id || '","username":"worker-1"}'
            else '{"itemId":"' || md5((n % 50000)::text)::uuid || '","name":"Item ' || n % 50000 || '","currentStock":' || n % 5 || '}' end,
       at, case when special = 'user-login' then 'user' else 'inventory' end, '{}',
       case when special = 'user-login' then array[actor.id] else '{}' end,
       case when special = 'low-stock-alert' then n % 5 end, case when special = 'user-login' then 0 else 1 end, at
  from log, actor;
update log_head set position = 1000000;
select setval('outbox_seq_seq', 1000000);

-- name: attempts
-- Two attempts of each event, including logins. One event in a hundred failed for good, and the
-- others succeeded at the second attempt.
with webhook as (
  select id from webhooks order by created_at limit 1
)
insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, next_attempt_at, url, request_headers,
                      started_at, total_us, status, error, recorded_at)
select w.id, e.position, e.id, e.type, e.recorded_at, n, outcome, case when outcome = 'retry' then e.recorded_at end,
       'http://127.0.0.1:9/1', '{}', e.recorded_at, 7000, case when outcome = 'success' then 200 else 503 end,
       case when outcome <> 'success' then 'the receiver answered 503' end, e.recorded_at + n * interval '1 second'
  from events as e, webhook as w, generate_series(1, 2) as n,
       lateral (select case when n = 1 then 'retry' when e.position % 100 = 0 then 'failed' else 'success' end as outcome) as ended;
insert into delivery_counts (webhook_id, day, status, ended, current, last_at)
select webhook_id, (recorded_at at time zone 'UTC')::date, outcome, count(*), count(*), max(recorded_at)
  from attempts
 where outcome <> 'retry'
 group by 1, 2, 3;

-- name: audit
insert into audit (at, actor_id, action, entity, entity_id, before, after, ip_address, request_id)
select now() - (1000001 - n) * interval '2 seconds', id, case when n % 5 = 0 then 'move' else 'update' end, 'item',
       md5((n % 50000)::text)::uuid, json_build_object('quantity', n % 7), json_build_object('quantity', n % 11), '192.0.2.1',
       'request-' || n
  from users, generate_series(1, 1000000) as n
 where username = 'admin';
