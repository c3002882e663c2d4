-- name: give_back
-- Gives back leases that were cut off. Their requests were sent and may be sent again, so `lost_by`
-- keeps the relay.
update deliveries as d
   set leased_by = null, lease_until = null, fence = null, lost_by = d.leased_by
  from unnest(:webhook_ids::uuid[], :positions::bigint[], :fences::bigint[]) as l (webhook_id, position, fence)
 where d.webhook_id = any (array[l.webhook_id]) and d.position >= l.position and d.position <= l.position
   and d.fence is not distinct from l.fence;

-- name: give_back_unconfirmed
-- Gives back unconfirmed leases: all of this relay in these lanes, except those that it `held`.
-- Nothing was sent under them. If one was a probe, the next probe may go.
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
  -- In the order of their ids, as the statements of settle.sql lock these rows.
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
