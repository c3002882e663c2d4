-- Checks the order by item of the webhooks that ask for it. A row is an item that stands still, an
-- item with two deliveries under way, a gap in the numbers, or a delivery that was sent before the
-- one before it had ended.
-- expect: no rows
--   psql "$DATABASE_URL" -f sql/audit/order.sql

set search_path = public, pg_temp;

with period as (
  -- The log still has every attempt of the events from here on.
  select min(recorded_at) as start from attempts
),
pending as (
  select d.webhook_id, d.item_id, count(*) as deliveries, count(d.next_attempt_at) as due,
         min(d.sequence) filter (where d.next_attempt_at is not null) as due_sequence
    from deliveries as d
   where d.sequence is not null
   group by d.webhook_id, d.item_id
),
numbered as (
  select webhook_id, item_id, sequence, event_at from deliveries where sequence is not null
  union
  select webhook_id, item_id, sequence, event_at from attempts where sequence is not null
),
-- An event gets its number when it is queued. So all numbers after the first one of the period were
-- given in the period.
earliest as (
  select n.webhook_id, n.item_id, min(n.sequence) as sequence
    from numbered as n, period
   where n.event_at >= period.start
   group by n.webhook_id, n.item_id
),
sent as (
  select a.webhook_id, a.item_id, a.sequence, min(a.started_at) as started_at,
         min(a.recorded_at) filter (where a.outcome in ('success', 'failed', 'cancelled', 'expired')) as ended_at
    from attempts as a
   where a.sequence is not null
   group by a.webhook_id, a.item_id, a.sequence
)
select 'an item stands still' as problem, p.webhook_id, p.item_id, p.deliveries || ' pending' as detail
  from pending as p
  left join item_orders as o on o.webhook_id = p.webhook_id and o.item_id = p.item_id
 where o.item_id is null or (o.blocked_position is null and p.due = 0)
union all
select 'two of an item may be sent at once', p.webhook_id, p.item_id, p.due || ' due'
  from pending as p
 where p.due > 1
union all
select 'the head of an item is not what is due', o.webhook_id, o.item_id,
       'head ' || coalesce(o.head::text, 'none') || ', due ' || coalesce(p.due_sequence::text, 'none')
  from item_orders as o
  left join pending as p on p.webhook_id = o.webhook_id and p.item_id = o.item_id
 where o.head is distinct from p.due_sequence
union all
select 'numbers have a gap', webhook_id, item_id, 'from ' || before || ' to ' || sequence
  from (select n.webhook_id, n.item_id, n.sequence,
               lag(n.sequence) over (partition by n.webhook_id, n.item_id order by n.sequence) as before
          from earliest as e
          join numbered as n on n.webhook_id = e.webhook_id and n.item_id = e.item_id and n.sequence >= e.sequence
        union
        -- The newest number that was given.
        select o.webhook_id, o.item_id, o.sequence + 1, max(n.sequence)
          from earliest as e
          join item_orders as o on o.webhook_id = e.webhook_id and o.item_id = e.item_id
          join numbered as n on n.webhook_id = e.webhook_id and n.item_id = e.item_id
         group by o.webhook_id, o.item_id, o.sequence) as given
 -- A new epoch leaves a gap.
 where sequence not in (before, before + 1) and sequence - 1 not in (select unnest(bases) from epoch)
union all
select 'sent before the one before it had ended', later.webhook_id, later.item_id, 'number ' || later.sequence
  from sent as earlier
  join sent as later on later.webhook_id = earlier.webhook_id and later.item_id = earlier.item_id
                    and later.sequence = earlier.sequence + 1
 where later.started_at < coalesce(earlier.ended_at, 'infinity')
 order by 1, 2, 3;
