-- name: read_outbox
-- The oldest rows, and whether the log has an event of the same id already. An id's time bounds where it can be in the log, and
-- each is looked up by itself: a list of ids is held against whole partitions where the planner takes them to be small.
-- A leader that was asleep lets go of the doorbell's lock by it. At least one row comes: whether lanes are to be woken, too, and
-- whether any webhook asks for order.
with woken as materialized (
  select case when :asleep::boolean then pg_advisory_unlock(:class_id::int, :object_id::int) end as let_go,
         exists (select from lane_wakes) as wakes,
         exists (select from webhooks where ordering is not null) as ordered
)
select woken.let_go, woken.wakes, woken.ordered, o.seq, o.id, o.type, o.data, o.location_ids, o.occurred_at, o.traceparent,
       known.id is not null as known
  from woken
  left join (select seq, id, type, data, location_ids, occurred_at, traceparent from outbox order by seq limit :batch) as o on true
  left join lateral (
    select e.id
      from events as e
     where e.id = o.id and e.recorded_at >= uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
     limit 1
  ) as known on true
 order by o.seq;

-- name: fan_out
-- Moves events from the outbox into the log, in order, and queues a delivery for each webhook that matches. As many as the leader
-- has slots for are leased to it at once, at most `per_webhook` of a lane and `most` in all: not in lanes where its own slots are
-- `crowded`, nor where a claim would have to look at a breaker, a pause or a rate, nor those of an owner who is parked. What is to go
-- in its item's order is only returned, for queue_in_order: unless nobody asked for order when the outbox was read.
with clock as materialized (
  select clock_timestamp() as now
),
routed as (
  select *
    from unnest(:seqs::bigint[], :datas::text[], :audiences::text[], :locations::text[], :categories::uuid[],
                :users::text[], :stocks::bigint[], :items::uuid[])
         as r (seq, data, audience, locations, category_id, users, stock, item_id)
),
moved as (
  delete from outbox as o
   using routed as r
   where o.seq >= r.seq and o.seq <= r.seq
  returning o.seq, o.id, o.type, r.data, o.occurred_at, o.traceparent, r.audience, r.locations::uuid[] as location_ids,
            r.category_id, r.users::uuid[] as user_ids, r.stock, r.item_id
),
head as (
  update log_head set position = position + (select count(*) from moved) returning position
),
numbered as (
  select moved.*,
         (select position from head) - count(*) over () + row_number() over (order by moved.seq) as position
    from moved
),
event as (
  select position, id, type, audience, location_ids, category_id, user_ids, stock, item_id from numbered
),
candidate as (
  -- Each event looks up the webhooks that want its type, by the filter that they are listed under; a filter speaks only of events
  -- that carry what it filters on, so that one without looks up all of the kind. `offset 0` keeps it a look-up: joined the other
  -- way round, every event would meet all webhooks of its type.
  select e.*, s.webhook_id
    from event as e
   cross join lateral (
     select webhook_id from subscriptions
      where event_type = e.type and kind = 'any' and key = '00000000-0000-0000-0000-000000000000'
     union all
     select distinct s.webhook_id
       from (select 'location' as kind, place.id as low, place.id as high from unnest(e.location_ids) as place (id)
             union all
             select 'location', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
              where e.location_ids = '{}'
             union all
             select 'category', coalesce(e.category_id, '00000000-0000-0000-0000-000000000000'),
                    coalesce(e.category_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) as filter
      cross join lateral (
        select webhook_id
          from subscriptions
         where event_type = e.type and kind = filter.kind and key between filter.low and filter.high offset 0) as s
     offset 0
   ) as s
),
matched as (
  select c.position, c.id, c.type, c.webhook_id, case when w.ordering = 'item' and :in_order::boolean then c.item_id end as item_id,
         w.timeout_ms, w.version, w.leasable
    from candidate as c
   cross join lateral (
     select w.ordering, w.timeout_ms, w.version,
            :most::int > 0 and exists (select from relays as r where r.id = :relay_id::uuid)
            and w.ordering is null and w.rate_per_second is null and u.status = 'active'
            and w.id <> all (:crowded::uuid[])
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
logged as (
  insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                      item_id, traceparent, deliveries)
  select n.position, n.id, n.seq, n.type, n.data, n.occurred_at, n.audience, n.location_ids, n.category_id, n.user_ids,
         n.stock, n.item_id, n.traceparent, coalesce(m.deliveries, 0)
    from numbered as n
    left join (select position, count(*) as deliveries from matched group by position) as m on m.position = n.position
),
shared as (
  select webhook_id, position, id, type, timeout_ms, version,
         leasable and row_number() over (partition by webhook_id order by position) <= :per_webhook::int as fits
    from matched
   where item_id is null
),
offered as (
  select webhook_id, position, id, type, timeout_ms, version,
         fits and count(*) filter (where fits) over (order by position, webhook_id rows unbounded preceding) <= :most as leased
    from shared
),
queued as (
  insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until, fence)
  select o.webhook_id, o.position, o.id, o.type, now(), now(),
         case when o.leased then :relay_id::uuid end,
         case when o.leased then clock.now + make_interval(secs => o.timeout_ms / 1000.0 + 10) end,
         case when o.leased then nextval('fences') end
    from offered as o
   cross join clock
  returning webhook_id, position, event_id, fence
)
select (select count(*) from moved) as events,
       (select count(*) from queued) as deliveries,
       array(select distinct webhook_id from queued where fence is null) as lanes,
       now() as event_at,
       (select now from clock) as claimed_at,
       leased.webhook_ids, leased.positions, leased.event_ids, leased.fences, target.target_ids, target.versions,
       ordered.webhook_ids as ordered_webhook_ids, ordered.item_ids as ordered_item_ids, ordered.positions as ordered_positions,
       ordered.event_ids as ordered_event_ids, ordered.event_types as ordered_event_types
  from (select array_agg(webhook_id) as webhook_ids, array_agg(position) as positions, array_agg(event_id) as event_ids,
               array_agg(fence) as fences
          from queued
         where fence is not null) as leased
 cross join (select array_agg(webhook_id) as target_ids, array_agg(version) as versions
               from (select distinct webhook_id, version from offered where leased) as each_once) as target
 cross join (select array_agg(webhook_id) as webhook_ids, array_agg(item_id) as item_ids, array_agg(position) as positions,
                    array_agg(id) as event_ids, array_agg(type) as event_types
               from matched
              where item_id is not null) as ordered;

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
  insert into item_orders as o (webhook_id, item_id, sequence, head)
  select webhook_id, item_id, count(*), 1
    from in_order
   group by webhook_id, item_id
   order by webhook_id, item_id
  on conflict (webhook_id, item_id) do update
     set sequence = o.sequence + excluded.sequence,
         head = case when o.blocked_position is null then coalesce(o.head, o.sequence + 1) end
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
         case when sequence = head then greatest(now(), not_before) end
    from placed
   where position is not null
  returning webhook_id, next_attempt_at
)
select count(*) as deliveries, array_agg(distinct webhook_id) filter (where next_attempt_at is not null) as lanes from queued;

-- name: set_aside
-- A row that cannot be fanned out leaves the queue as it is, with the reason.
with moved as (
  delete from outbox where seq = :seq returning *
)
insert into set_aside (seq, id, type, data, occurred_at, location_ids, traceparent, written_at, reason)
select seq, id, type, data, occurred_at, location_ids, traceparent, written_at, :reason from moved;

-- name: take_lane_wakes
with taken as (
  delete from lane_wakes returning webhook_id
)
select distinct webhook_id from taken;

-- name: notify_work
select pg_notify('jossiedb_work', payload) from unnest(:payloads::text[]) as payload;

-- name: try_lock
select pg_try_advisory_lock(:class_id::int, :object_id::int);

-- name: fall_asleep
select fall_asleep(:class_id::int, :object_id::int);

-- name: anything
select exists (select from outbox) or exists (select from lane_wakes);

-- name: probe
select 1;
