-- name: notify_work
-- Sends nothing if the server's queue of notifications is nearly full. The last room in it is not
-- ours to take.
select pg_notify('jossiedb_work', payload) from unnest(:payloads::text[]) as payload where pg_notification_queue_usage() <= 0.9;
