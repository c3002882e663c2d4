-- name: notify_work
-- Where the server's queue of notifications is nearly full nobody is told, as the last that fit into it are not ours to take.
select pg_notify('jossiedb_work', payload) from unnest(:payloads::text[]) as payload where pg_notification_queue_usage() <= 0.9;
