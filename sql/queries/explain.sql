-- name: facts
-- The records of an event's way to a webhook, and how the two match now. A lease is judged as a
-- claim judges it: it is void if it has run out, or if its relay is no longer listed.
select e.id as event_id, e.type as event_type, e.occurred_at, e.recorded_at, e.location_ids, e.category_id, e.stock,
       may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids) as readable, u.status = 'active' as owner_active,
       d.position is not null as queued, d.attempts, d.next_attempt_at, d.next_attempt_at <= clock_timestamp() as due,
       coalesce(lasts(d.lease_until, clock_timestamp(), '75 seconds') and exists (select from relays as r where r.id = d.leased_by), false)
         as sending,
       coalesce(d.position <= w.discard_through, false) as discarded,
       health.opened_at, health.probe_at, coalesce(health.probe_position = d.position, false) as goes_as_probe,
       case when lasts(health.paused_until, clock_timestamp(), '25 hours') then health.paused_until end as paused_until,
       case when token.back_at > clock_timestamp() then token.back_at end as token_at,
       d.next_attempt_at is null as waits, blocking.id as blocked_by, blocking.position = e.position as blocks,
       ahead.event_id as behind,
       ended.outcome, ended.attempt, ended.error, ended.recorded_at as ended_at,
       delivered.recorded_at as delivered_at
  from events as e
 cross join webhooks as w
  join users as u on u.id = w.owner_id
  join receiver_health as health on health.webhook_id = w.id
  -- When the bucket of the webhook's rateLimit holds a whole token, as a claim computes it. Null
  -- without a rate, and for a full bucket.
 cross join lateral (
    select health.tokens_at + make_interval(secs => (1 - health.tokens) / w.rate_per_second) as back_at
  ) as token
  left join deliveries as d on d.webhook_id = w.id and d.position = e.position
  left join lateral (
    select outcome, attempt, error, recorded_at, item_id
      from attempts as a
     where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at
       and a.outcome in ('success', 'failed', 'cancelled', 'expired') and a.retried_at is null
     limit 1
  ) as ended on true
  -- For an event that stands in its item's order: what the item waits for.
  left join item_orders as o on o.webhook_id = w.id and o.item_id = coalesce(d.item_id, ended.item_id)
  left join events as blocking on blocking.position = o.blocked_position and blocking.recorded_at = o.blocked_event_at
  left join deliveries as ahead on ahead.webhook_id = w.id and ahead.item_id = o.item_id and ahead.sequence = o.head
  left join lateral (
    select recorded_at
      from attempts as a
     where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at and a.outcome = 'success'
     order by recorded_at
     limit 1
  ) as delivered on true
 where e.id = :event_id and w.id = :webhook_id
 order by d.position is not null or ended.outcome is not null desc, e.position desc
 limit 1;

-- name: before_the_log
-- An event that has not reached the log: it is in the outbox, or set aside with the reason.
select null::text as reason, null::timestamptz as set_aside_at from outbox where id = :event_id
union all
(select reason, set_aside_at from set_aside where id = :event_id order by seq desc limit 1)
limit 1;
