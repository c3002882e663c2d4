-- name: listens
update relays set listen_pid = :pid, listen_start = :start, listen_number = :number where id = :id;

-- name: end_backend
-- Ends the backend, and waits up to `wait_ms` until it has ended. Its last statement may have
-- committed.
select pg_terminate_backend(pid, :wait_ms::bigint) from pg_stat_activity where pid = :pid and backend_start = :start;
