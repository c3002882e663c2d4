-- Checks that nothing is missing: each mutation has its event, each event its deliveries, each
-- delivery its end or its row in the queue, and the counts agree. A row is something that was lost
-- or counted wrongly.
-- expect: no rows
--   psql "$DATABASE_URL" -v since='1 day' -f sql/audit/outbox_completeness.sql

set search_path = public, pg_temp;

\if :{?since}
\else
  \set since '30 days'
\endif

with period as (
  -- Not before the oldest day of which the log still has both events and attempts. A day of events
  -- stays while attempts of a later day refer to it. Its other attempts went with their own day.
  select greatest(now() - :'since'::interval, (select min(recorded_at) from events),
                  (select min(to_date(right(day.relname, 8), 'YYYYMMDD'))::timestamp at time zone 'UTC'
                     from pg_inherits
                     join pg_class as day on day.oid = inhrelid
                    where inhparent = 'attempts'::regclass)) as start
),
owed as (
  select e.position, e.id, e.type, e.deliveries
    from events as e, period
   where e.recorded_at >= period.start
),
open_end as (
  select a.webhook_id, a.position, count(*) as ends
    from attempts as a, period
   where a.outcome in ('success', 'failed', 'cancelled', 'expired') and a.retried_at is null
     and a.event_at >= period.start
   group by a.webhook_id, a.position
),
held as (
  select position, count(*) as deliveries
    from (select webhook_id, position from open_end
          union
          select webhook_id, position from deliveries) as known
   group by position
)
select 'a mutation has no event' as problem, a.entity || ' ' || a.action as subject, a.entity_id as id, a.at::text as detail
  from audit as a, period
 where a.at >= period.start and a.event_ids = '{}' and a.entity <> 'webhook'
union all
select 'a mutation''s event is nowhere', a.entity || ' ' || a.action, event_id, a.at::text
  from audit as a, period, unnest(a.event_ids) as event_id
 where a.at >= period.start
   and not exists (select from outbox where outbox.id = event_id)
   and not exists (select from events where events.id = event_id)
   and not exists (select from set_aside where set_aside.id = event_id)
union all
select 'an event has lost deliveries', o.type, o.id, coalesce(h.deliveries, 0) || ' of ' || o.deliveries
  from owed as o
  left join held as h on h.position = o.position
 where coalesce(h.deliveries, 0) <> o.deliveries
union all
select 'a delivery has no event', d.event_type, d.event_id, 'webhook ' || d.webhook_id
  from deliveries as d
 where not exists (select from events as e where e.position = d.position and e.recorded_at = d.event_at)
union all
select 'a delivery has ended and is queued', d.event_type, d.event_id, 'webhook ' || d.webhook_id
  from deliveries as d
  join open_end as e on e.webhook_id = d.webhook_id and e.position = d.position
union all
select 'a delivery has ended more than once', null, null, 'webhook ' || e.webhook_id || ', position ' || e.position
  from open_end as e
 where e.ends > 1
union all
select 'positions have a gap', null, null, 'from ' || before || ' to ' || position
  from (select position, lag(position) over (order by position) as before from events) as log
 -- A new epoch leaves a gap.
 where position <> before + 1 and position - 1 not in (select unnest(bases) from epoch)
union all
select 'counts differ from the log', coalesce(c.status, l.status), coalesce(c.webhook_id, l.webhook_id),
       coalesce(c.day, l.day) || ': counted ' || coalesce(c.current, 0) || ', logged ' || coalesce(l.logged, 0)
  from (select webhook_id, (recorded_at at time zone 'UTC')::date as day, outcome as status, count(*) as logged
          from attempts
         where outcome in ('success', 'failed', 'cancelled', 'expired') and retried_at is null
         group by 1, 2, 3) as l
  full join (select webhook_id, day, status, current
               from delivery_counts
              where day >= (select min((recorded_at at time zone 'UTC')::date) from attempts)) as c
    on c.webhook_id = l.webhook_id and c.day = l.day and c.status = l.status
 where coalesce(c.current, 0) <> coalesce(l.logged, 0)
 order by 1, 2, 3;
