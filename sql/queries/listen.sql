-- name: listens
update relays set listen_pid = :pid, listen_start = :start, listen_number = :number where id = :id;

-- name: end_backend
-- And waits until it has ended, if it ends soon: what it was at may have been committed before.
select pg_terminate_backend(pid, :wait_ms::bigint) from pg_stat_activity where pid = :pid and backend_start = :start;
