-- name: reschedule
-- Deliveries that were put off by a clock that was ahead, so that when that was written lies in the future; they wait from now on for as
-- long as they were to wait then. And those that are put off for longer than any delivery can be. How many, a batch at most.
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
-- Webhooks that fail are disabled after a time. Where the clock has jumped, nobody knows for how long they have failed.
update receiver_health
   set failing_since = clock_timestamp()
 where webhook_id in (
   select webhook_id from receiver_health where failing_since is not null order by webhook_id for no key update skip locked);
