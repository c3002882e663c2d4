-- name: claim
-- Leases due rows of the given lanes, at most `shares` a lane and `most` in all. A lease is void when it has run out, or when
-- its relay is no longer listed. Every claim draws new fences, so that a result of an older lease can never be taken for this one's.
with clock as (
  select coalesce(:now::timestamptz, clock_timestamp()) as now
),
lane as (
  select * from unnest(:webhook_ids::uuid[], :shares::int[]) with ordinality as l (webhook_id, share, number)
),
picked as (
  select due.webhook_id, due.position, w.timeout_ms, w.version, w.owner_id, u.role, u.narrowed_at
    from lane as l
    join webhooks as w on w.id = l.webhook_id
    join users as u on u.id = w.owner_id
   cross join clock
   cross join lateral (
     select d.webhook_id, d.position
       from deliveries as d
      where d.webhook_id = l.webhook_id
        and d.next_attempt_at <= clock.now
        and d.position > w.discard_through
        and (d.leased_by is null or d.lease_until <= clock.now
             or not exists (select from relays as r where r.id = d.leased_by))
      order by d.next_attempt_at
      limit l.share
        for update skip locked
   ) as due
   where w.active and w.deleted_at is null and u.status = 'active'
   order by l.number
   limit :most
),
claimed as (
  update deliveries as d
     set leased_by = :relay_id,
         lease_until = clock.now + make_interval(secs => p.timeout_ms / 1000.0 + 10),
         fence = nextval('fences'),
         lost_leases = d.lost_leases + (d.leased_by is not null)::int,
         lost_by = coalesce(d.leased_by, d.lost_by)
    from picked as p cross join clock
   where d.webhook_id = p.webhook_id and d.position = p.position
  returning d.webhook_id, d.position, d.event_id, d.event_type, d.event_at, d.attempts, d.attempts_before, d.fence,
            d.lost_leases, d.lost_by, d.next_attempt_at, d.item_id, d.sequence, p.version, p.owner_id, p.role, p.narrowed_at, clock.now as claimed_at
)
select c.*, e.data, e.occurred_at, e.traceparent,
       -- Fan-out asked already, so it is asked again only of owners whose rights have changed since they are there.
       c.narrowed_at is null or may_read(c.role, c.owner_id, e.audience, e.location_ids, e.user_ids) as readable
  from claimed as c
  left join events as e on e.position = c.position and e.recorded_at = c.event_at
 order by c.next_attempt_at, c.position;

-- name: sweep
-- The next lanes after a webhook, in id order, each with the time of its soonest delivery: one index entry a lane.
with recursive lane as (
  (select d.webhook_id, d.next_attempt_at, 1 as number
     from deliveries as d
    where d.webhook_id > :after::uuid and d.next_attempt_at is not null
    order by d.webhook_id, d.next_attempt_at
    limit 1)
  union all
  select next.webhook_id, next.next_attempt_at, lane.number + 1
    from lane
   cross join lateral (
     select d.webhook_id, d.next_attempt_at
       from deliveries as d
      where d.webhook_id > lane.webhook_id and d.next_attempt_at is not null
      order by d.webhook_id, d.next_attempt_at
      limit 1
   ) as next
   where lane.number < :most
)
select webhook_id,
       greatest(extract(epoch from next_attempt_at - coalesce(:now::timestamptz, clock_timestamp())), 0)::float8 as due_in
  from lane;

-- name: targets
select id, version, owner_id, url, secret_sealed, headers_sealed, max_retries, retry_delay_ms, retry_ladder, retry_delays_ms,
       timeout_ms, on_failure
  from webhooks
 where id = any (:webhook_ids::uuid[]);

-- name: claim_tests
update webhook_tests as t
   set claimed_by = :relay_id
  from (select id from webhook_tests
         where claimed_by is null and expires_at > now()
         order by requested_at
         limit :most
           for update skip locked) as open
 where t.id = open.id
returning t.id, t.webhook_id, clock_timestamp() as claimed_at;

-- name: finish_test
update webhook_tests
   set finished_at = now(), status = :status, error = :error
 where id = :id and claimed_by = :relay_id;
