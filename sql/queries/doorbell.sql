-- name: try_lock
select pg_try_advisory_lock(:class_id::int, :object_id::int);

-- name: probe
select 1;
