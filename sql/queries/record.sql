-- name: record
-- One batch of results: ends leave the queue, retries go back into it, all are logged, ends are counted. A result is taken only
-- where the fence is what was claimed, and the event; any other changes nothing and is logged as superseded.
-- Rows of the queue are named by an array of one and a range, as everywhere in the relay: plain equalities may be joined by reading
-- the whole queue, and are where it was last analysed when it had just run empty. Both are boundaries in the index from 15 to 18.
with result as (
  select * from unnest(:results::attempt_result[]) as r
),
ended as (
  delete from deliveries as d
   using result as r
   where d.webhook_id = any (array[r.webhook_id]) and d.position >= r.position and d.position <= r.position
     and d.fence is not distinct from r.fence and d.event_id = r.event_id and r.outcome <> 'retry'
  returning d.webhook_id, d.position, r.fence
),
put_back as (
  update deliveries as d
     set next_attempt_at = clock.now + make_interval(secs => r.retry_ms / 1000.0),
         scheduled_at = clock.now,
         attempts = r.attempt,
         leased_by = null, lease_until = null, fence = null,
         lost_leases = 0, lost_by = null
    from result as r
   cross join (select clock_timestamp() as now) as clock
   where d.webhook_id = any (array[r.webhook_id]) and d.position >= r.position and d.position <= r.position
     and d.fence is not distinct from r.fence and d.event_id = r.event_id and r.outcome = 'retry'
  returning d.webhook_id, d.position, r.fence, d.next_attempt_at
),
taken as (
  select webhook_id, position, fence, null::timestamptz as next_attempt_at from ended
  union all
  select webhook_id, position, fence, next_attempt_at from put_back
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, next_attempt_at, relay_id,
                        fence, lost_by, url, request_headers, started_at, dns_us, connect_us, tls_us, first_byte_us,
                        total_us, status, response_headers, response_body, error, item_id, sequence, recorded_at)
  select r.webhook_id, r.position, r.event_id, r.event_type, r.event_at, r.attempt,
         case when t.fence is null then 'superseded' else r.outcome end, t.next_attempt_at, :relay_id::uuid, r.fence,
         r.lost_by, r.url, r.request_headers::json, r.started_at, r.dns_us, r.connect_us, r.tls_us, r.first_byte_us,
         r.total_us, r.status, r.response_headers, r.response_body, r.error, r.item_id, r.sequence,
         -- Never before its event, which may be of a time when the clock was ahead.
         case when r.event_at > now() then logged_at(r.event_at) else now() end
    from result as r
    left join taken as t on t.webhook_id = r.webhook_id and t.position = r.position and t.fence = r.fence
  returning webhook_id, outcome, recorded_at
),
counted as (
  -- What count_ends() does. It stands here once more, because this is the relay's hottest statement:
  -- the function made it 12 % slower for one result, and 9 % for twenty.
  -- In the order of the key, so that two relays never wait for each other.
  insert into delivery_counts (webhook_id, day, status, ended, current, last_at)
  select webhook_id, (recorded_at at time zone 'UTC')::date, outcome, count(*), count(*), max(recorded_at)
    from logged
   where outcome in ('success', 'failed', 'cancelled', 'expired')
   group by 1, 2, 3
   -- Somebody may have deleted its row by psql; nothing counts for it then.
  having exists (select from webhooks as w where w.id = logged.webhook_id)
   order by 1, 2, 3
  on conflict (webhook_id, day, status) do update
     set ended = delivery_counts.ended + excluded.ended,
         current = delivery_counts.current + excluded.current,
         last_at = greatest(delivery_counts.last_at, excluded.last_at)
)
-- What was superseded, by its fence, and the lanes of the others that have failed before or were slowed down: a success ends that.
select array(select r.fence from result as r
              where not exists (select from taken as t where t.webhook_id = r.webhook_id and t.position = r.position
                                                         and t.fence = r.fence)) as superseded,
       array(select l.webhook_id from lanes as l
              where l.webhook_id in (select webhook_id from taken) and (l.failures > 0 or l.pauses > 0)) as unclean;

-- name: cancel_discarded
-- Ends, as cancelled, a batch of deliveries that a webhook no longer wants: it was deleted, or its backlog dropped. `only`: of these
-- webhooks; null: of any. Those that
-- stand in an item's order only where that is locked; one of them that is under way holds back the next until it has ended.
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
-- Ends, as expired, a batch of deliveries whose event is older than the log keeps, unless one is being sent; `only` as above. Those that stand in
-- an item's order only where that is locked.
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

-- name: make_partitions
select make_partitions(:days_ahead);

-- name: drop_partition
select drop_partition(coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds));

-- name: concerned
-- Webhooks that housekeeping may have something to do for, so that it can be done for each by itself.
select distinct webhook_id
  from deliveries
 where event_at < coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds)
 union
select id from webhooks where discard_through > 0
 union
select webhook_id from item_orders where blocked_position is not null
 union
select webhook_id from lanes where unannounced > 0;

-- name: forget_tests
with gone as (
  delete from webhook_tests
   where id in (select id from webhook_tests where requested_at < now() - interval '1 day' limit :batch for update skip locked)
  returning id
)
select count(*) from gone;
