-- name: belongs_to_others
-- Whether there are users and none of them is the demo's.
select exists (select from users) and not exists (select from users where email like :domain);

-- name: relays_ready
-- Whether so many relays are alive and one of them leads.
select count(*) >= :relays::int and bool_or(leader)
  from relays
 where seen_at > clock_timestamp() - interval '3 seconds';

-- name: mark
-- The point from which the demo counts: the newest number that the outbox has given to a row, and
-- the database's time.
select coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')), 0) as seq, clock_timestamp() as at;

-- name: waiting
-- The backlog: events that are not fanned out, and deliveries owed to these webhooks.
select (select count(*) from outbox) as outbox,
       (select count(*) from deliveries where webhook_id = any (:webhook_ids::uuid[])) as deliveries;

-- name: written
-- Every event written after the mark, wherever it is by now. `deliveries`: for how many webhooks it
-- was queued when it was fanned out.
select id, type, deliveries from events where seq > :seq and recorded_at >= :since
union all
select id, type, null from outbox where seq > :seq
union all
select id, type, null from set_aside where seq > :seq;

-- name: owed
-- Every pair of webhook and event after the mark that is in the queue, or whose attempt or end was
-- logged.
with written as (
  select position from events where seq > :seq and recorded_at >= :since
)
select webhook_id, event_id from deliveries where position in (select position from written)
union
select webhook_id, event_id from attempts
 where position in (select position from written) and recorded_at >= :since;

-- name: leader
-- The process id of the leader.
select pid from relays where leader order by seen_at desc limit 1;

-- name: relay_of_process
-- The relay that ran as this process, if it is still listed.
select id, leader
  from relays
 where pid = :pid and host = :host
 order by started_at desc
 limit 1;

-- name: is_succeeded
-- Whether this relay is gone, nothing is leased to it any more, and some relay leads.
select not exists (select from relays where id = :id)
       and not exists (select from deliveries where leased_by = :id)
       and exists (select from relays where leader);

-- name: successors
-- The listed relays, each with how many lost leases of the relay that is gone it has sent again.
select r.id, r.pid, r.leader, count(a.fence) as leases
  from relays as r
  left join attempts as a on a.relay_id = r.id and a.lost_by = :id
 group by r.id, r.pid, r.leader
 order by r.started_at;
