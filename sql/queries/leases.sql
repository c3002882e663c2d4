-- name: give_back
-- Leases that were cut off. What was sent under them may arrive again, so it is said whose they were.
update deliveries as d
   set leased_by = null, lease_until = null, fence = null, lost_by = d.leased_by
  from unnest(:webhook_ids::uuid[], :positions::bigint[], :fences::bigint[]) as l (webhook_id, position, fence)
 where d.webhook_id = any (array[l.webhook_id]) and d.position >= l.position and d.position <= l.position
   and d.fence is not distinct from l.fence;

-- name: give_back_unconfirmed
-- Leases that a relay was granted and not told of: all but those that it holds. Nothing was sent under them. One that was a probe makes
-- room for the next.
with unknown as (
  select d.webhook_id, d.position, d.fence, d.lease_until
    from unnest(:webhook_ids::uuid[]) as lane (webhook_id)
   cross join lateral (
     select webhook_id, position, leased_by, fence, lease_until
       from deliveries
      where deliveries.webhook_id = lane.webhook_id and next_attempt_at is not null
      order by next_attempt_at
      limit :most
   ) as d
   where d.leased_by = :relay_id and d.fence <> all (:held::bigint[])
),
probed as materialized (
  -- In the order of their ids, as whoever settles what results mean.
  select s.webhook_id
    from receiver_health as s
    join unknown as u on u.webhook_id = s.webhook_id and u.lease_until = s.probe_until
   where s.probe_by = :relay_id
   order by s.webhook_id
     for no key update of s
),
unprobed as (
  update receiver_health as s
     set probe_by = null, probe_until = null
    from probed
   where s.webhook_id = probed.webhook_id
)
update deliveries as d
   set leased_by = null, lease_until = null, fence = null
  from unknown as u
 where d.webhook_id = any (array[u.webhook_id]) and d.position >= u.position and d.position <= u.position
   and d.fence is not distinct from u.fence
returning d.webhook_id;
