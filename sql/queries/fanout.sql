-- name: fan_out
-- sql/functions/fan_out.sql explains the arguments and the columns.
select *
  from fan_out(:batch::int, :few::int, :patience_ms::int, :release_first::boolean, :sleep_if_idle::boolean, :class_id::int,
               :object_id::int, :relay_id::uuid, :most::int, :per_webhook::int, :crowded::uuid[]);

-- name: read_stuck
-- The stuck rows among the oldest, and whether the log has their ids already (`known`).
select o.seq, o.id, o.type, o.data, o.location_ids, known.id is not null as known
  from (select seq, id, type, data, location_ids, audience from outbox order by seq limit :batch) as o
  left join lateral (
    select e.id
      from events as e
     where e.id = o.id and e.recorded_at >= uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
     limit 1
  ) as known on true
 where o.audience is null or known.id is not null
 order by o.seq;

-- name: route
-- Writes the subjects of rows that have none. Nobody waits for its commit: if a crash undoes it, it
-- is done again, and fan-out flushes later.
with locked as materialized (
  -- In the order of the queue, so that two transactions that lock these rows never wait for each
  -- other.
  select seq from outbox where seq = any (:seqs::bigint[]) order by seq for update
)
update outbox as o
   set data = r.data,
       audience = r.audience,
       location_ids = r.locations::uuid[],
       category_id = r.category_id,
       user_ids = r.users::uuid[],
       stock = r.stock,
       item_id = r.item_id
  from unnest(:seqs::bigint[], :datas::text[], :audiences::text[], :locations::text[], :categories::uuid[], :users::text[],
              :stocks::bigint[], :items::uuid[])
       as r (seq, data, audience, locations, category_id, users, stock, item_id)
  join locked on locked.seq = r.seq
 cross join (select set_config('synchronous_commit', 'off', true)) as unhurried
 where o.seq >= r.seq and o.seq <= r.seq;

-- name: set_aside
-- Moves a row that cannot be fanned out from the queue to set_aside, unchanged, with the reason.
with moved as (
  delete from outbox where seq = :seq returning *
)
insert into set_aside (seq, id, type, data, occurred_at, location_ids, traceparent, written_at, reason)
select seq, id, type, data, occurred_at, location_ids, traceparent, written_at, :reason from moved
    on conflict (seq, id) do update
   set type = excluded.type, data = excluded.data, occurred_at = excluded.occurred_at, location_ids = excluded.location_ids,
       traceparent = excluded.traceparent, written_at = excluded.written_at, reason = excluded.reason, set_aside_at = now();

-- name: end_ahead
-- Ends as failed the deliveries that stand ahead of the log, or of their item's order. Somebody has
-- moved them there, and they stand in the way of coming events. It neither locks the items nor
-- makes their next deliveries due.
with ahead as (
  select d.webhook_id, d.position
    from deliveries as d
   where d.position > (select position from log_head)
      or d.sequence > (select o.sequence from item_orders as o where o.webhook_id = d.webhook_id and o.item_id = d.item_id)
   order by d.webhook_id, d.position
     for update
),
ended as (
  delete from deliveries as d
   using ahead
   where d.webhook_id = any (array[ahead.webhook_id]) and d.position >= ahead.position and d.position <= ahead.position
  returning d.*
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, error, item_id, sequence)
  select webhook_id, position, event_id, event_type, event_at, attempts, 'failed', :reason, item_id, sequence from ended
  returning webhook_id, outcome, recorded_at
)
select count_ends(array_agg(webhook_id), array_agg(outcome), array_agg(recorded_at)) from logged;

-- name: take_lane_wakes
with taken as (
  delete from lane_wakes returning webhook_id
)
select distinct webhook_id from taken;

-- name: oldest
select seq from outbox order by seq limit 1;

-- name: anything
select exists (select from outbox) or exists (select from lane_wakes);
