-- name: belongs_to_others
-- Whether there are users and none of them is the demo's.
select exists (select from users) and not exists (select from users where email like :domain);

-- name: relays_ready
-- Whether so many relays are alive, and one of them leads.
select count(*) >= :relays::int and bool_or(leader)
  from relays
 where seen_at > clock_timestamp() - interval '3 seconds';

-- name: mark
-- Where the counting begins: the newest row that the outbox has given a number to, and the database's time.
select coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')), 0) as seq, clock_timestamp() as at;

-- name: waiting
-- What is still on its way: events not fanned out, and deliveries owed to these webhooks.
select (select count(*) from outbox) as outbox,
       (select count(*) from deliveries where webhook_id = any (:webhook_ids::uuid[])) as deliveries;

-- name: written
-- Every event written after the mark, wherever it is by now, with how many webhooks it was queued for when it was fanned out.
select id, type, deliveries from events where seq > :seq and recorded_at >= :since
union all
select id, type, null from outbox where seq > :seq
union all
select id, type, null from set_aside where seq > :seq;

-- name: owed
-- Every (webhook, event) after the mark that the queue holds or that an attempt or an end was logged for.
with written as (
  select position from events where seq > :seq and recorded_at >= :since
)
select webhook_id, event_id from deliveries where position in (select position from written)
union
select webhook_id, event_id from attempts
 where position in (select position from written) and recorded_at >= :since;

-- name: leader
-- The process that leads.
select pid from relays where leader order by seen_at desc limit 1;

-- name: relay_of_process
-- The relay that ran as this process, if it is still listed.
select id, leader
  from relays
 where pid = :pid and host = :host
 order by started_at desc
 limit 1;

-- name: is_succeeded
-- Whether a relay's leases are void, nothing is leased to it any more, and some relay leads.
select not exists (select from relays where id = :id)
       and not exists (select from deliveries where leased_by = :id)
       and exists (select from relays where leader);

-- name: successors
-- The relays that there are, each with how many leases of the one that is gone it has sent again.
select r.id, r.pid, r.leader, count(a.fence) as leases
  from relays as r
  left join attempts as a on a.relay_id = r.id and a.lost_by = :id
 group by r.id, r.pid, r.leader
 order by r.started_at;
