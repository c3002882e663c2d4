-- name: record
-- One batch of results. Ended deliveries leave the queue, retries go back into it, all results are
-- logged, and ends are counted. A result is taken only if the delivery still has the result's fence
-- and event. Any other result changes nothing and is logged as superseded.
-- Trap: rows of the queue are named by an array of one and a range, as everywhere in the relay. The
-- planner may join plain equalities by reading the whole queue, and it does if the queue was last
-- analysed when it had just run empty. The array and the range are index conditions in PostgreSQL
-- 15 to 18.
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
deferred as (
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
  select webhook_id, position, fence, next_attempt_at from deferred
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, next_attempt_at, relay_id,
                        fence, lost_by, url, request_headers, started_at, dns_us, connect_us, tls_us, first_byte_us,
                        total_us, status, response_headers, response_body, error, item_id, sequence, recorded_at)
  select r.webhook_id, r.position, r.event_id, r.event_type, r.event_at, r.attempt,
         case when t.fence is null then 'superseded' else r.outcome end, t.next_attempt_at, :relay_id::uuid, r.fence,
         r.lost_by, r.url, r.request_headers::json, r.started_at, r.dns_us, r.connect_us, r.tls_us, r.first_byte_us,
         r.total_us, r.status, r.response_headers, r.response_body, r.error, r.item_id, r.sequence,
         -- Never before its event, whose time may come from a clock that was ahead.
         case when r.event_at > now() then logged_at(r.event_at) else now() end
    from result as r
    left join taken as t on t.webhook_id = r.webhook_id and t.position = r.position and t.fence = r.fence
  returning webhook_id, outcome, recorded_at
),
counted as (
  -- This repeats count_ends(). This statement is the relay's most frequent one, and a call of the
  -- function made it 12 % slower for one result, and 9 % for twenty.
  -- In the order of the key, so that two relays never wait for each other.
  insert into delivery_counts (webhook_id, day, status, ended, current, last_at)
  select webhook_id, (recorded_at at time zone 'UTC')::date, outcome, count(*), count(*), max(recorded_at)
    from logged
   where outcome in ('success', 'failed', 'cancelled', 'expired')
   group by 1, 2, 3
   -- psql may have deleted the webhook's row. Then nothing is counted for it.
  having exists (select from webhooks as w where w.id = logged.webhook_id)
   order by 1, 2, 3
  on conflict (webhook_id, day, status) do update
     set ended = delivery_counts.ended + excluded.ended,
         current = delivery_counts.current + excluded.current,
         last_at = greatest(delivery_counts.last_at, excluded.last_at)
)
-- The fences of superseded results, and the lanes of the other results whose receivers had failed
-- before or were slowed down. A success ends that.
select array(select r.fence from result as r
              where not exists (select from taken as t where t.webhook_id = r.webhook_id and t.position = r.position
                                                         and t.fence = r.fence)) as superseded,
       array(select l.webhook_id from receiver_health as l
              where l.webhook_id in (select webhook_id from taken) and (l.failures > 0 or l.pauses > 0)) as unclean;
