-- name: give_up
-- Ends one delivery as failed, because it cannot be worked on: the delivery at this position, if it
-- still has this fence. Without a position, it is the first of the lane that a claim would take.
with probe as (
  -- Under an open breaker, a claim takes the manual retry, if there is one that is due, and nothing
  -- else.
  select d.position
    from receiver_health as s
    join deliveries as d on d.webhook_id = s.webhook_id and d.position = s.probe_position
   where s.webhook_id = :webhook_id and s.opened_at is not null and d.next_attempt_at <= clock_timestamp()
),
first as (
  select d.webhook_id, d.position
    from deliveries as d
   where d.webhook_id = :webhook_id
     and case when :position::bigint is null
              then d.next_attempt_at <= clock_timestamp()
                   and (d.leased_by is null or not lasts(d.lease_until, clock_timestamp(), '75 seconds')
                        or not exists (select from relays as r where r.id = d.leased_by))
                   and (d.lost_leases + (d.leased_by is not null)::int >= 5) = :suspects::boolean
                   and d.position = coalesce((select position from probe), d.position)
              else d.position = :position and d.fence = :fence::bigint end
   order by d.next_attempt_at
   limit 1
     for update skip locked
),
ended as (
  delete from deliveries as d
   using first
   where d.webhook_id = any (array[first.webhook_id]) and d.position >= first.position and d.position <= first.position
  returning d.*
),
logged as (
  insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, error, item_id, sequence)
  select webhook_id, position, event_id, event_type, event_at, attempts, 'failed', :reason, item_id, sequence from ended
  returning webhook_id, outcome, recorded_at
)
select event_id, item_id, counted.ends
  from ended
 cross join (select count_ends(array_agg(webhook_id), array_agg(outcome), array_agg(recorded_at)) as ends from logged) as counted;
