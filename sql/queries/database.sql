-- name: end_backends
select count(pg_terminate_backend(a.pid))
  from unnest(:pids::int[], :starts::timestamptz[]) as own (pid, start)
  join pg_stat_activity as a on a.pid = own.pid and a.backend_start = own.start;

-- name: any_silent
-- Whether one of these backends has long been idle, or has long waited for its client's next
-- message: a statement is prepared before it is executed. The relay still waits for an answer from
-- each of them. So that answer, or the message before it, is lost.
select exists (
  select from unnest(:pids::int[], :starts::timestamptz[]) as own (pid, start)
    join pg_stat_activity as a on a.pid = own.pid and a.backend_start = own.start
   where (a.state in ('idle', 'idle in transaction', 'idle in transaction (aborted)')
          or a.state = 'active' and a.wait_event = 'ClientRead')
     -- If this time lies ahead, the server's clock was set back since.
     and a.state_change not between clock_timestamp() - make_interval(secs => :seconds) and clock_timestamp()
);

-- name: own_backend
select pid, backend_start from pg_stat_activity where pid = pg_backend_pid();
