-- name: register
insert into relays (id, version, host, pid, mark) values (:id, :version, :host, :pid, :mark);

-- name: beat
-- Refreshes only a row that this relay has written: a row with another mark belongs to another
-- past. Of two LISTEN backends, the later one counts. A relay that has just connected anew writes
-- that at once, and a beat that was under way still names the previous backend.
update relays
   set seen_at = clock_timestamp(), mark = :mark, leader = :leader,
       listen_pid = case when listen_number > :listen_number then listen_pid else :listen_pid end,
       listen_start = case when listen_number > :listen_number then listen_start else :listen_start end,
       listen_number = greatest(listen_number, :listen_number),
       in_flight = :in_flight, delivered = :delivered, attempted = :attempted, poll_wakes = :poll_wakes,
       deliver_rate = :deliver_rate, attempt_rate = :attempt_rate
 where id = :id and mark = any (:marks::uuid[])
returning clock_timestamp() as now,
          array(select (peer.id, peer.seen_at, extract(epoch from clock_timestamp() - peer.seen_at)::float8)
                  from relays as peer
                 where peer.id <> :id) as peers;

-- name: reap
-- Removes relays that were silent while a peer watched: their rows have not changed since. No
-- stored time decides that, because the server's clock may have jumped. Their leases end with their
-- rows. A leader that is stopped but still connected would keep its locks, so its LISTEN backend is
-- ended. A killed relay is recognised sooner: it is silent, and its LISTEN backend has ended. (A
-- relay that has only lost that connection is not silent.)
with locked as materialized (
  -- In the order of their ids, so that two relays that do this at once take turns.
  select id as locked_id from relays where id = any (:ids::uuid[]) order by id for update
),
gone as (
  delete from relays
   using unnest(:ids::uuid[], :seen_ats::timestamptz[], :stale::boolean[]) as silent (relay_id, last_seen_at, stale), locked
   where id = silent.relay_id and id = locked_id and seen_at = silent.last_seen_at
     and (silent.stale
          or (listen_pid is not null
              and not exists (select from pg_stat_activity as a where a.pid = listen_pid and a.backend_start = listen_start)))
  returning id, leader, listen_pid, listen_start
),
ended as (
  select gone.id, pg_terminate_backend(activity.pid) as terminated
    from gone
    join pg_stat_activity as activity on activity.pid = gone.listen_pid and activity.backend_start = gone.listen_start
)
select gone.id, gone.leader, coalesce(ended.terminated, false) as terminated
  from gone
  left join ended on ended.id = gone.id;

-- name: leave
delete from relays where id = :id;
