-- name: cancel_discarded
-- Ends a batch of deliveries as cancelled, because their webhook has discarded them: it was
-- deleted, or its backlog was dropped. `only`: these webhooks, or null for all. A delivery that
-- stands in an item's order is ended only if its item is among the given ones, which are locked. If
-- it is being sent, the item's next delivery is not due before its lease ends.
with doomed as (
  select d.webhook_id, d.position
    from webhooks as w
    join deliveries as d on d.webhook_id = w.id and d.position <= w.discard_through
   where w.discard_through > 0
     and (:only::uuid[] is null or w.id = any (:only))
     and (d.sequence is null
          or (d.webhook_id, d.item_id) in (select * from unnest(:webhook_ids::uuid[], :item_ids::uuid[])))
   limit :batch
     for update of d skip locked
),
ended as (
  delete from deliveries as d
   using doomed
   where d.webhook_id = any (array[doomed.webhook_id]) and d.position >= doomed.position and d.position <= doomed.position
  returning d.webhook_id, d.position, d.event_id, d.event_type, d.event_at, d.attempts, d.item_id, d.sequence, d.lease_until
),
held_back as (
  update item_orders as o
     set not_before = e.lease_until
    from ended as e
   where o.webhook_id = e.webhook_id and o.item_id = e.item_id and lasts(e.lease_until, now(), '75 seconds')
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, error, item_id, sequence, recorded_at)
  select webhook_id, position, event_id, event_type, event_at, attempts, 'cancelled', 'no longer wanted by its webhook',
         item_id, sequence, logged_at(event_at)
    from ended
  returning webhook_id, outcome, recorded_at
)
select count_ends(array_agg(webhook_id), array_agg(outcome), array_agg(recorded_at)) from logged;

-- name: expire
-- Ends a batch of deliveries as expired, because their event is older than the log keeps.
-- Deliveries that are being sent stay. `only`, and deliveries in an item's order: as in
-- cancel_discarded.
with doomed as (
  select d.webhook_id, d.position
    from deliveries as d
   where d.event_at < coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds)
     and (d.leased_by is null or not lasts(d.lease_until, coalesce(:now::timestamptz, now()), '75 seconds'))
     and (:only::uuid[] is null or d.webhook_id = any (:only))
     and (d.sequence is null
          or (d.webhook_id, d.item_id) in (select * from unnest(:webhook_ids::uuid[], :item_ids::uuid[])))
   limit :batch
     for update skip locked
),
ended as (
  delete from deliveries as d
   using doomed
   where d.webhook_id = any (array[doomed.webhook_id]) and d.position >= doomed.position and d.position <= doomed.position
  returning d.webhook_id, d.position, d.event_id, d.event_type, d.event_at, d.attempts, d.item_id, d.sequence
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, error, item_id, sequence)
  select webhook_id, position, event_id, event_type, event_at, attempts, 'expired', 'still pending when its event expired',
         item_id, sequence
    from ended
  returning webhook_id, outcome, recorded_at
)
select count_ends(array_agg(webhook_id), array_agg(outcome), array_agg(recorded_at)) from logged;

-- name: concerned
-- Webhooks that housekeeping may concern, so that it can be done for each of them by itself.
select distinct webhook_id
  from deliveries
 where event_at < coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds)
 union
select id from webhooks where discard_through > 0
 union
select webhook_id from item_orders where blocked_position is not null
 union
select webhook_id from receiver_health where unannounced > 0;

-- name: forget_tests
with gone as (
  delete from webhook_tests
   where id in (select id from webhook_tests where requested_at < now() - interval '1 day' limit :batch for update skip locked)
  returning id
)
select count(*) from gone;

-- name: reschedule
-- Corrects a batch of deliveries that a clock that was ahead has put off: they were scheduled at a
-- time that has not come yet. They now wait as long as they were to wait then. Deliveries that are
-- put off for longer than any may be are corrected, too. Returns how many.
with clock as (
  select clock_timestamp() as now
),
ahead as (
  select d.webhook_id, d.position
    from deliveries as d
   cross join clock
   where d.next_attempt_at > clock.now
     and (d.scheduled_at > clock.now + interval '1 second' or d.next_attempt_at > clock.now + interval '25 hours')
   limit :batch
     for update of d skip locked
),
rescheduled as (
  update deliveries as d
     set next_attempt_at = clock.now + least(greatest(d.next_attempt_at - d.scheduled_at, interval '0'), interval '24 hours'),
         scheduled_at = clock.now
    from ahead
   cross join clock
   where d.webhook_id = any (array[ahead.webhook_id]) and d.position >= ahead.position and d.position <= ahead.position
  returning 1
)
select count(*) from rescheduled;

-- name: reset_health
-- The same for probes and pauses.
with reset as (
  update receiver_health as l
     set probe_at = least(l.probe_at, clock.now + greatest(l.probe_at - l.changed_at, interval '0')),
         paused_until = least(l.paused_until, clock.now + greatest(l.paused_until - l.changed_at, interval '0')),
         failing_since = least(l.failing_since, clock.now),
         opened_at = least(l.opened_at, clock.now),
         changed_at = clock.now
    from (select clock_timestamp() as now) as clock
   where l.webhook_id in (
     select webhook_id from receiver_health
      where changed_at > clock_timestamp() + interval '1 second' and (failures > 0 or pauses > 0)
      order by webhook_id
        for no key update skip locked)
  returning 1
)
select count(*) from reset;

-- name: fail_from_now
-- Restarts the time after which a failing webhook is disabled. After the clock has jumped, nobody
-- knows for how long webhooks have failed.
update receiver_health
   set failing_since = clock_timestamp()
 where webhook_id in (
   select webhook_id from receiver_health where failing_since is not null order by webhook_id for no key update skip locked);

-- name: forget_orders
-- Removes the orders of deleted webhooks, when no delivery is owed to them. Returns how many.
with gone as (
  select o.webhook_id, o.item_id
    from webhooks as w
    join item_orders as o on o.webhook_id = w.id
   where w.deleted_at is not null
     and not exists (select from deliveries as d
                      where d.webhook_id = o.webhook_id and d.item_id = o.item_id and d.sequence is not null)
   order by o.webhook_id, o.item_id
   limit :batch
     for update of o skip locked
),
ended as (
  delete from item_orders as o using gone where o.webhook_id = gone.webhook_id and o.item_id = gone.item_id returning o.item_id
)
select count(*) from ended;

-- name: forget_answers
-- Removes a batch of answers that are older than `ttl_seconds`. Returns how many.
with old as (
  select user_id, key_hash
    from idempotent_answers
   where created_at <= coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds)
   limit :batch
     for update skip locked
),
gone as (
  delete from idempotent_answers as a
   using old
   where a.user_id = old.user_id and a.key_hash = old.key_hash
  returning a.key_hash
)
select count(*) from gone;

-- name: forget_marks
-- Removes the marks of relays that peers removed long ago. A relay that was stopped for that long
-- no longer trusts its mark.
with gone as (
  delete from relay_marks
   where relay_id in (
     select relay_id from relay_marks where left_at < now() - interval '30 days' limit :batch for update skip locked)
  returning relay_id
)
select count(*) from gone;

-- name: forget_jobs
with old as (
  select id from replay_jobs where ended_at < now() - make_interval(secs => :ttl_seconds) limit :batch for update skip locked
),
gone as (
  delete from replay_jobs as j using old where j.id = old.id returning j.id
)
select count(*) from gone;

-- name: forget_sessions
with gone as (
  delete from sessions
   where id in (
     select id from sessions
      where coalesce(ended_at, expires_at) < coalesce(:now::timestamptz, now()) - :ttl::interval
      limit :batch
        for update skip locked)
  returning id
)
select count(*) from gone;

-- name: forget_login_failures
with gone as (
  delete from login_failures
   where ctid = any (array(
     select ctid from login_failures where at < coalesce(:now::timestamptz, now()) - :ttl::interval
      limit :batch
        for update skip locked))
  returning at
)
select count(*) from gone;

-- name: forget_audit
with gone as (
  delete from audit
   where id in (
     select id from audit
      where at < coalesce(:now::timestamptz, now()) - :ttl::interval
      order by at
      limit :batch
        for update skip locked)
  returning id
)
select count(*) from gone;

-- name: fold_counts
-- Folds old days, of which the log keeps nothing, into one day long ago, for each webhook and
-- status. Old counts are only ever summed, and a list of webhooks would sum more rows each day.
-- Returns how many rows were folded.
with old as (
  delete from delivery_counts
   where ctid = any (array(
     select c.ctid
       from delivery_counts as c
      where c.day > '0001-01-01'
        and c.day < ((coalesce(:now::timestamptz, now()) - :ttl::interval - interval '2 days') at time zone 'UTC')::date
        and not exists (select from attempts as a
                         where a.recorded_at >= c.day::timestamp at time zone 'UTC'
                           and a.recorded_at < (c.day + 1)::timestamp at time zone 'UTC')
      limit :batch
        for update skip locked))
  returning webhook_id, status, ended, current, last_at
),
folded as (
  insert into delivery_counts as c (webhook_id, day, status, ended, current, last_at)
  select webhook_id, '0001-01-01', status, sum(ended), sum(current), max(last_at)
    from old
   group by webhook_id, status
  on conflict (webhook_id, day, status) do update
     set ended = c.ended + excluded.ended,
         current = c.current + excluded.current,
         last_at = greatest(c.last_at, excluded.last_at)
)
select count(*) from old;
