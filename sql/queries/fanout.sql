-- name: fan_out
-- Moves the oldest events from the outbox into the log, in order, and queues a delivery for each webhook that matches: all up to the
-- first that cannot be moved as it is, as nobody has said what it is about, or the log has its id already. An id's time bounds where it
-- can be in the log. Nothing is moved where webhooks ask for order and the statement is not asked to see to it. A leader that was
-- asleep lets go of the doorbell's lock by it; one that is `sleepy` falls asleep by it, where that was all: fall_asleep() has snapshots of
-- its own, and sees what has been moved.
-- As many deliveries as the leader has slots for are leased to it at once, at most `per_webhook` of a lane and `most` in all: not in
-- lanes that are `crowded`, or whose owners are, nor where a claim would have to look at a breaker, a pause or a rate, nor those of an owner
-- who is parked. What is to go in its item's order is only returned, for queue_in_order.
with look as materialized (
  select case when :asleep::boolean then pg_advisory_unlock(:class_id::int, :object_id::int) end as let_go,
         clock_timestamp() as now,
         exists (select from lane_wakes) as wakes,
         exists (select from webhooks where ordering is not null) as ordered
),
oldest as materialized (
  select o.seq,
         -- Each id is looked up by itself: a list of them is held against whole partitions where the planner takes them to be small.
         o.audience is null
         or (select true from events as e
              where e.id = o.id and e.recorded_at >= uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
              limit 1) is not null as stuck
    from (select seq, id, audience from outbox order by seq limit :batch) as o
),
found as materialized (
  select count(*) as rows, bool_or(stuck) as stuck, min(seq) as first,
         case when :in_order::boolean or not look.ordered
              then coalesce(min(seq) filter (where stuck) - 1, max(seq)) end as through
    from oldest
   cross join look
   group by look.ordered
),
moved as (
  delete from outbox as o
   using found
   -- From the first on: what lies before it is dead, and while some old snapshot is open its index entries are not.
   where o.seq >= found.first and o.seq <= found.through
  returning o.*
),
head as (
  update log_head
     set position = position + moved.rows
    from (select count(*) as rows from moved) as moved
   where moved.rows > 0
  returning position - moved.rows as before, moved.rows
),
event as (
  -- Without a head of the log there is no position, which is refused; nothing that was moved may be missing here.
  select moved.*, (select before from head) + row_number() over (order by moved.seq) as position
    from moved
),
alike as (
  -- Events that differ in nothing that webhooks are held against are held against them once.
  select type, audience, location_ids, category_id, user_ids, stock, array_agg(position) as positions, array_agg(id) as ids,
         array_agg(item_id) as item_ids
    from event
   group by type, audience, location_ids, category_id, user_ids, stock
),
candidate as (
  select e.*, s.webhook_id
    from alike as e
   cross join lateral subscribed(e.type, e.location_ids, e.category_id) as s
),
matching as (
  select c.webhook_id, c.type, w.ordering, w.timeout_ms, w.version, w.leasable,
         unnest(c.positions) as position, unnest(c.ids) as id, unnest(c.item_ids) as item_id
    from candidate as c
   cross join lateral (
     select w.ordering, w.timeout_ms, w.version,
            :most::int > 0 and exists (select from relays as r where r.id = :relay_id::uuid)
            and w.ordering is null and w.rate_per_second is null and u.status = 'active'
            and w.id <> all (:crowded::uuid[]) and w.owner_id <> all (:crowded::uuid[])
            -- Not `exists`, which may be answered by reading all lanes.
            and (select s.opened_at is null and s.pauses = 0 from lanes as s where s.webhook_id = w.id) as leasable
       from webhooks as w
       join users as u on u.id = w.owner_id
      where w.id = c.webhook_id
        and w.active
        and w.deleted_at is null
        and webhook_wants(w, u.role, c.type, c.audience, c.location_ids, c.category_id, c.user_ids, c.stock)
     offset 0
   ) as w
),
matched as materialized (
  select webhook_id, position, id, type, case when ordering = 'item' and :in_order then item_id end as item_id, timeout_ms, version,
         leasable
    from matching
),
logged as (
  insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                      item_id, traceparent, deliveries)
  select n.position, n.id, n.seq, n.type, n.data, n.occurred_at, n.audience, n.location_ids, n.category_id, n.user_ids,
         n.stock, n.item_id, n.traceparent, coalesce(m.deliveries, 0)
    from event as n
    left join (select position, count(*) as deliveries from matched group by position) as m on m.position = n.position
),
shared as (
  select *, leasable and row_number() over (partition by webhook_id order by position) <= :per_webhook::int as fits
    from matched
),
offered as (
  select *, fits and count(*) filter (where fits) over (order by position, webhook_id rows unbounded preceding) <= :most as leased
    from shared
),
due as (
  select *, case when leased then nextval('fences') end as fence from offered
),
queued as (
  insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until, fence)
  select d.webhook_id, d.position, d.id, d.type, now(), now(),
         case when d.leased then :relay_id::uuid end,
         case when d.leased then look.now + make_interval(secs => d.timeout_ms / 1000.0 + 10) end,
         d.fence
    from due as d
   cross join look
   where d.item_id is null
)
select case when :sleepy::boolean and found.rows is distinct from :batch then fall_asleep(:class_id, :object_id) end as state,
       look.let_go, look.wakes, look.ordered, look.now as claimed_at, now() as event_at, found.rows, found.stuck, done.*,
       event.positions as event_positions, event.event_ids, event.event_types, event.datas, event.occurred_ats, event.traceparents
  from look
  left join found on true
 cross join (
   select (select rows from head) as events, count(*) filter (where item_id is null) as deliveries,
          array_agg(distinct webhook_id) filter (where item_id is null and not leased) as lanes,
          array_agg(webhook_id) filter (where leased) as webhook_ids,
          array_agg(position) filter (where leased) as positions,
          array_agg(fence) filter (where leased) as fences,
          array_agg(version) filter (where leased) as versions,
          min(position) filter (where leased) as first, max(position) filter (where leased) as last,
          array_agg(webhook_id) filter (where item_id is not null) as ordered_webhook_ids,
          array_agg(item_id) filter (where item_id is not null) as ordered_item_ids,
          array_agg(position) filter (where item_id is not null) as ordered_positions,
          array_agg(id) filter (where item_id is not null) as ordered_event_ids,
          array_agg(type) filter (where item_id is not null) as ordered_event_types
     from due) as done
 cross join lateral (
   select array_agg(position) as positions, array_agg(id) as event_ids, array_agg(type) as event_types, array_agg(data) as datas,
          array_agg(occurred_at) as occurred_ats, array_agg(traceparent) as traceparents
     from event
    where position between done.first and done.last) as event;

-- name: fan_out_few
-- The same for at most `few` events, where that is all, one by one: a row for each, and one that says how it went. fan_out_few() says
-- what it leaves to fan_out.
select *
  from fan_out_few(:few::int, :patience_ms::int, :asleep::boolean, :sleepy::boolean, :class_id::int, :object_id::int, :relay_id::uuid,
                   :most::int, :crowded::uuid[]);

-- name: queue_in_order
-- Queues what fan-out returned in its items' orders: in the same transaction, and after it.
with matched as (
  select *
    from unnest(:webhook_ids::uuid[], :item_ids::uuid[], :positions::bigint[], :event_ids::uuid[], :event_types::text[])
         as m (webhook_id, item_id, position, id, type)
),
in_order as (
  select webhook_id, item_id, position, id, type,
         row_number() over (partition by webhook_id, item_id order by position)
         - count(*) over (partition by webhook_id, item_id) as from_newest
    from matched
),
orders as (
  -- What this sees of a row that is there is its newest version, not the snapshot's: whether the item has a head is decided right
  -- even beside a relay that has just ended it.
  -- The numbers of an epoch begin above its base.
  insert into item_orders as o (webhook_id, item_id, sequence, head)
  select webhook_id, item_id, base + count(*), base + 1
    from in_order
   cross join epoch
   group by webhook_id, item_id, base
   order by webhook_id, item_id
  on conflict (webhook_id, item_id) do update
     set sequence = greatest(o.sequence, (select base from epoch)) + excluded.sequence - (select base from epoch),
         head = case when o.blocked_position is null then coalesce(o.head, greatest(o.sequence, (select base from epoch)) + 1) end
  returning webhook_id, item_id, sequence, head, not_before
),
placed as (
  -- Each beside its item's row, by sorting: nobody can tell a planner how many there are, and a nested loop takes seconds.
  select webhook_id, item_id, position, id, type, from_newest + max(newest) over same as sequence, max(head) over same as head,
         max(not_before) over same as not_before
    from (select webhook_id, item_id, position, id, type, from_newest, null::bigint as newest, null::bigint as head,
                 null::timestamptz as not_before
            from in_order
          union all
          select webhook_id, item_id, null, null, null, null, sequence, head, not_before from orders) as both_of_them
  window same as (partition by webhook_id, item_id)
),
queued as (
  insert into deliveries (webhook_id, position, event_id, event_type, event_at, item_id, sequence, next_attempt_at)
  select webhook_id, position, id, type, now(), item_id, sequence,
         case when sequence = head then case when lasts(not_before, now(), '75 seconds') then not_before else now() end end
    from placed
   where position is not null
  returning webhook_id, next_attempt_at
)
select count(*) as deliveries, array_agg(distinct webhook_id) filter (where next_attempt_at is not null) as lanes from queued;

-- name: read_stuck
-- Those of the oldest rows that cannot be moved as they are, and whether the log has their ids already.
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
-- Says of rows what they are about. Its commit is not waited for: what a crash undoes is said again, and fan-out's own flush comes
-- after it.
with locked as materialized (
  -- In the order of the queue: of two leaders that overlap, neither waits for the other while that waits for it.
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
-- A row that cannot be fanned out leaves the queue as it is, with the reason.
with moved as (
  delete from outbox where seq = :seq returning *
)
insert into set_aside (seq, id, type, data, occurred_at, location_ids, traceparent, written_at, reason)
select seq, id, type, data, occurred_at, location_ids, traceparent, written_at, :reason from moved
    on conflict (seq, id) do update
   set type = excluded.type, data = excluded.data, occurred_at = excluded.occurred_at, location_ids = excluded.location_ids,
       traceparent = excluded.traceparent, written_at = excluded.written_at, reason = excluded.reason, set_aside_at = now();

-- name: end_ahead
-- Deliveries that the log, or their item's order, has not come to: somebody moved them there. They stand where the next event is to go,
-- and are ended as failed.
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
