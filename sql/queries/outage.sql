-- name: ping
select 1;

-- name: takes_writes
-- False on a standby, and if the server or the database is read-only by default.
select current_setting('transaction_read_only') = 'off';
