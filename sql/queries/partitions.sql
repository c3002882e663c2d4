-- name: make_partitions
select make_partitions(:days_ahead);

-- name: drop_partition
select drop_partition(coalesce(:now::timestamptz, now()) - make_interval(secs => :ttl_seconds));
