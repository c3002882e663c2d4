-- name: bounds
-- The stretch of the log that holds the events since `since`. Events reach the log after they
-- happened. The extra day is for clocks that were set back. Events that are older than the history
-- are not sent again.
with log as (
  select position as head,
         greatest(:since::timestamptz - interval '1 day', now() - make_interval(secs => :ttl_seconds)) as log_from
    from log_head
)
select now() as now, log_from, head as through,
       coalesce((select min(position) from events where recorded_at >= log.log_from), head + 1) - 1 as after
  from log;

-- name: count
select event_type, count(*) as count, min(occurred_at) as oldest, max(occurred_at) as newest
  from replayable(:webhook_id, :after, :through, :since, :until, :wanted, :types::text[], :log_from)
 group by event_type
 order by event_type;

-- name: insert
insert into replay_jobs (webhook_id, since, until, wanted, types, position, through, total)
values (:webhook_id, :since, :until, :wanted, :types, :after, :through, :total)
returning id, state, since, until, wanted, types, total, done, error, created_at, started_at, ended_at;

-- name: list
select id, state, since, until, wanted, types, total, done, error, created_at, started_at, ended_at
  from replay_jobs
 where webhook_id = :webhook_id and (created_at, id) < (:before_at::timestamptz, :before_id::uuid)
 order by created_at desc, id desc
offset :skip::bigint
 limit :limit::bigint;

-- name: count_jobs
select count(*)
  from (select
          from replay_jobs where webhook_id = :webhook_id
         limit :most::bigint) as counted;

-- name: get
select id, state, since, until, wanted, types, total, done, error, created_at, started_at, ended_at
  from replay_jobs
 where id = :id and webhook_id = :webhook_id;

-- name: cancel
update replay_jobs
   set state = 'cancelled', ended_at = now()
 where id = :id and webhook_id = :webhook_id and state in ('queued', 'running')
returning id, state, since, until, wanted, types, total, done, error, created_at, started_at, ended_at;

-- name: open_jobs
-- The jobs to work on. Jobs of an inactive webhook, or of a suspended owner, wait. Jobs of a
-- deleted webhook are listed so that they are ended.
select j.id
  from replay_jobs as j
  join webhooks as w on w.id = j.webhook_id
  join users as u on u.id = w.owner_id
 where j.state in ('queued', 'running')
   and (w.deleted_at is not null or (w.active and u.status = 'active'))
 order by j.created_at;

-- name: lock_job
-- If two leaders overlap, the second skips a job that the first has locked.
select webhook_id, position, through, since, until, wanted, types, (select position from log_head) as head
  from replay_jobs
 where id = :id and state in ('queued', 'running')
   for update skip locked;

-- name: lock_webhook
-- A manual retry and other replays of the same webhook lock this row, too, before they look. So
-- none of them can queue an event that another has just queued.
select deleted_at is not null as deleted, discard_through
  from webhooks
 where id = :webhook_id
   for no key update;

-- name: end_discard
select end_discard(:webhook_id);

-- name: room
-- How many more rows may become due in a lane. In a longer lane, new events would wait too long.
-- Deliveries that wait for their turn count as well, unless their item is blocked.
select :most::bigint - count(*)
  from ((select from deliveries
          where webhook_id = :webhook_id and next_attempt_at <= now()
          limit :most)
        union all
        (select from deliveries as d
          where d.webhook_id = :webhook_id and d.sequence is not null and d.next_attempt_at is null
            and not exists (select from item_orders as o
                             where o.webhook_id = :webhook_id and o.item_id = d.item_id and o.blocked_position is not null)
          limit :most)) as ahead;

-- name: window_end
-- The end of the next stretch of the log after a position. It is `scan` positions on. If a new
-- epoch has left a gap there, it is just before the event after the gap.
select least(:through::bigint, coalesce((select min(position) - 1 from events where position > :after::bigint + :scan::bigint), :through));

-- name: advance
-- One batch of a job: queues the events that it finds, and moves the job past them, in one
-- statement. A past end is marked as retried and its count is taken back, as with a manual retry.
-- An event that was never queued for the webhook is counted at the event. For a webhook that asks
-- for order, events that were queued before keep their numbers, and the others get new ones. All of
-- these wait for their turn, which the next statement gives.
with picked as materialized (
  select *
    from replayable(:webhook_id, :after, :window_end, :since, :until, :wanted, :types::text[],
                    greatest(:since::timestamptz - interval '1 day', now() - make_interval(secs => :ttl_seconds)))
   order by event_position
   limit :room
),
orders as (
  -- Locks the items, in the order of the key, before the counts, as a relay does when it records.
  insert into item_orders as o (webhook_id, item_id, sequence)
  select :webhook_id, item_id, base + count(*) filter (where outcome is null)
    from picked
   cross join epoch
   where item_id is not null
   group by item_id, base
   order by item_id
  on conflict (webhook_id, item_id) do update
     set sequence = case when excluded.sequence > (select base from epoch)
                         then greatest(o.sequence, (select base from epoch)) + excluded.sequence - (select base from epoch)
                         else o.sequence end,
         blocked_position = case when o.blocked_position not in (select event_position from picked) then o.blocked_position end,
         blocked_event_at = case when o.blocked_position not in (select event_position from picked) then o.blocked_event_at end
  returning item_id, sequence
),
reopened as (
  update attempts as a
     set retried_at = now()
    from picked as p
   where a.webhook_id = :webhook_id and a.position > :after and a.position <= :window_end
     and a.position = p.event_position and a.recorded_at = p.ended_at
     and a.outcome = p.outcome and a.retried_at is null
  returning a.position, a.event_id, a.event_type, a.event_at, a.attempt, a.outcome, a.recorded_at, a.item_id, a.sequence
),
taken_back as (
  -- In the order of the key, like the relays that count.
  insert into delivery_counts (webhook_id, day, status, current, last_at)
  select :webhook_id, (recorded_at at time zone 'UTC')::date, outcome, -count(*), max(recorded_at)
    from reopened
   where (select count(*) from orders) >= 0
   group by 2, 3
   order by 2, 3
  on conflict (webhook_id, day, status) do update
     set current = delivery_counts.current + excluded.current
),
missed as (
  update events as e
     set deliveries = e.deliveries + 1
    from picked as p
   where e.position > :after and e.position <= :window_end
     and e.position = p.event_position and e.recorded_at = p.event_at and p.outcome is null
  returning e.position, e.id, e.type, e.recorded_at, p.item_id
),
numbered as (
  select m.*, o.sequence - count(*) over (partition by m.item_id)
                         + row_number() over (partition by m.item_id order by m.position) as sequence
    from missed as m
    left join orders as o on o.item_id = m.item_id
),
queued as (
  insert into deliveries (webhook_id, position, event_id, event_type, event_at, attempts, attempts_before, item_id, sequence,
                          next_attempt_at)
  select :webhook_id, position, event_id, event_type, event_at, attempt, attempt, item_id, sequence,
         case when item_id is null then now() end
    from reopened
  union all
  select :webhook_id, position, id, type, recorded_at, 0, 0, item_id, sequence, case when item_id is null then now() end
    from numbered
  returning position
),
reached as (
  select case when count(*) = :room then max(event_position) else :window_end end as position from picked
)
update replay_jobs as j
   set position = reached.position,
       done = j.done + (select count(*) from queued),
       state = case when reached.position = j.through then 'done' else 'running' end,
       started_at = coalesce(j.started_at, now()),
       ended_at = case when reached.position = j.through then now() end
  from reached
 where j.id = :id
returning j.state, j.done, (select count(*) from queued) as queued, array(select item_id from orders) as item_ids;

-- name: end_job
update replay_jobs set state = :state, error = :error, ended_at = now() where id = :id and state in ('queued', 'running');
