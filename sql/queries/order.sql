-- name: lock
-- Locks items in the order of the key, so that two transactions never wait for each other.
select o.head
  from item_orders as o
  join unnest(:webhook_ids::uuid[], :item_ids::uuid[]) as k (webhook_id, item_id)
    on k.webhook_id = o.webhook_id and k.item_id = o.item_id
 order by o.webhook_id, o.item_id
   for no key update of o;

-- name: lock_delivery
-- Locks the item of a delivery that has ended, and says whether the delivery blocks it. No row: the
-- delivery stands in no order.
select o.item_id, o.blocked_position is not distinct from :position as blocks
  from item_orders as o
 where o.webhook_id = :webhook_id
   and o.item_id = (select a.item_id
                      from attempts as a
                     where a.webhook_id = :webhook_id and a.position = :position and a.recorded_at >= :event_at
                       and a.sequence is not null
                     limit 1)
   for no key update of o;

-- name: lock_blocked
-- Locks all blocked items of a webhook.
select o.webhook_id, o.item_id
  from item_orders as o
 where o.webhook_id = :webhook_id and o.blocked_position is not null
 order by o.item_id
   for no key update of o;

-- name: lock_needless
-- Locks items that need not be blocked any more. Either the log no longer reaches the blocking
-- event, so nobody can resolve it. Or the webhook asks to skip by now: a relay that had begun to
-- send under the old policy may still have blocked the item.
select o.webhook_id, o.item_id
  from item_orders as o
  join webhooks as w on w.id = o.webhook_id
 where o.blocked_position is not null
   and (w.on_failure is distinct from 'block'
        or o.blocked_event_at < coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds))
   and (:only::uuid[] is null or o.webhook_id = any (:only))
 order by o.webhook_id, o.item_id
 limit :batch
   for no key update of o;

-- name: lock_discarded
-- Locks items with a delivery that their webhook has discarded. It searches by items, because a
-- lane without order may be long and has no items.
select o.webhook_id, o.item_id
  from webhooks as w
  join item_orders as o on o.webhook_id = w.id
 cross join lateral (
   select from deliveries as d
    where d.webhook_id = o.webhook_id and d.item_id = o.item_id and d.sequence is not null
      and d.position <= w.discard_through
    limit 1
 ) as doomed
 where w.discard_through > 0
   and (:only::uuid[] is null or w.id = any (:only))
 order by o.webhook_id, o.item_id
 limit :batch
   for no key update of o;

-- name: lock_expired
-- Locks items with a delivery whose event is older than the log keeps, and that is not being sent.
with old as (
  select distinct webhook_id, item_id
    from (select d.webhook_id, d.item_id
            from deliveries as d
           where d.event_at < coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds)
             and (d.leased_by is null or not lasts(d.lease_until, coalesce(:now::timestamptz, now()), '75 seconds'))
             and d.sequence is not null
             and (:only::uuid[] is null or d.webhook_id = any (:only))
           limit :batch) as doomed
)
select o.webhook_id, o.item_id
  from item_orders as o
  join old on old.webhook_id = o.webhook_id and old.item_id = o.item_id
 order by o.webhook_id, o.item_id
   for no key update of o;

-- name: block
-- Blocks items by deliveries that have just failed for good. The items are locked. `wanted`:
-- whether the webhook still asks for that.
update item_orders as o
   set blocked_position = f.position, blocked_event_at = f.event_at, head = null
  from unnest(:webhook_ids::uuid[], :item_ids::uuid[], :positions::bigint[], :event_ats::timestamptz[])
       as f (webhook_id, item_id, position, event_at)
  join webhooks as w on w.id = f.webhook_id
 where o.webhook_id = f.webhook_id and o.item_id = f.item_id
returning o.webhook_id, o.item_id, w.on_failure is not distinct from 'block' as wanted;

-- name: unblock
update item_orders
   set blocked_position = null, blocked_event_at = null
 where webhook_id = :webhook_id and blocked_position = :position;

-- name: skip
-- Unblocks these items, which are locked: their later events no longer wait for the one that
-- failed. Logs the failed one as skipped.
with skipped as materialized (
  select o.webhook_id, o.item_id, o.blocked_position, o.blocked_event_at
    from item_orders as o
    join unnest(:webhook_ids::uuid[], :item_ids::uuid[]) as k (webhook_id, item_id)
      on k.webhook_id = o.webhook_id and k.item_id = o.item_id
   where o.blocked_position is not null
),
freed as (
  update item_orders as o
     set blocked_position = null, blocked_event_at = null
    from skipped as s
   where o.webhook_id = s.webhook_id and o.item_id = s.item_id
)
insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, error, item_id, sequence, recorded_at)
select s.webhook_id, s.blocked_position, ended.event_id, ended.event_type, s.blocked_event_at, ended.attempt, 'skipped', :why,
       s.item_id, ended.sequence, logged_at(s.blocked_event_at)
  from skipped as s
 cross join lateral (
   select a.event_id, a.event_type, a.attempt, a.sequence
     from attempts as a
    where a.webhook_id = s.webhook_id and a.position = s.blocked_position and a.recorded_at >= s.blocked_event_at
      and a.outcome = 'failed' and a.retried_at is null
    limit 1
 ) as ended;

-- name: promote
-- If an item's head has ended and the item is not blocked, makes its next pending delivery the
-- head, and due. An earlier statement has locked the items. Nothing changes for items whose head
-- has not ended.
with next as materialized (
  select o.webhook_id, o.item_id, o.not_before, pending.sequence, pending.position
    from unnest(:webhook_ids::uuid[], :item_ids::uuid[]) as k (webhook_id, item_id)
   cross join lateral (
     select webhook_id, item_id, head, not_before
       from item_orders
      where webhook_id = k.webhook_id and item_id = k.item_id and blocked_position is null
     offset 0
   ) as o
    left join lateral (
     select d.sequence, d.position
       from deliveries as d
      where d.webhook_id = o.webhook_id and d.item_id = o.item_id and d.sequence is not null
      order by d.sequence
      limit 1
   ) as pending on true
   -- Trap: `not exists` may be answered by reading the whole queue.
   where (select true from deliveries as d
           where d.webhook_id = o.webhook_id and d.item_id = o.item_id and d.sequence = o.head
           limit 1) is null
),
moved as (
  update item_orders as o
     set head = n.sequence
    from next as n
   where o.webhook_id = n.webhook_id and o.item_id = n.item_id and o.head is distinct from n.sequence
),
due as (
  update deliveries as d
     set next_attempt_at = case when lasts(n.not_before, clock.now, '75 seconds') then n.not_before else clock.now end,
         scheduled_at = clock.now
    from next as n
   cross join (select clock_timestamp() as now) as clock
   where d.webhook_id = any (array[n.webhook_id]) and d.position >= n.position and d.position <= n.position
  returning d.webhook_id, d.next_attempt_at
)
select webhook_id,
       greatest(extract(epoch from min(next_attempt_at) - clock_timestamp()), 0)::float8 as due_in
  from due
 group by webhook_id;

-- name: count_blocked
select count(*)
  from (select
          from item_orders where webhook_id = :webhook_id and blocked_position is not null
         limit :most::bigint) as counted;
