-- name: try_lock
-- Held to the end of the transaction. Two keys with the same hash would only refuse each other while both run.
select pg_try_advisory_xact_lock(:lock);

-- name: find
-- However old: only housekeeping takes an answer away, which knows whether the clock can be trusted. No request runs longer than it
-- reserved its key for: a later end was set by a clock that was ahead.
select sealed, running_until is not null as running
  from idempotent_answers
 where user_id = :user_id and key_hash = :key_hash
   and (running_until is null or lasts(running_until, now(), make_interval(secs => :most_seconds)));

-- name: keep
-- Where a row is in the way that counts, nothing is returned: no answer that is kept is ever overwritten.
insert into idempotent_answers as a (user_id, key_hash, sealed, running_until)
values (:user_id, :key_hash, :sealed, clock_timestamp() + make_interval(secs => :running_seconds::float8))
    on conflict (user_id, key_hash) do update
   set sealed = excluded.sealed, running_until = excluded.running_until, created_at = excluded.created_at
 where a.running_until is not null and not lasts(a.running_until, now(), make_interval(secs => :most_seconds))
returning true;

-- name: complete
-- Only of the request that reserved the key: what it sealed then says so.
update idempotent_answers
   set sealed = :sealed, running_until = null
 where user_id = :user_id and key_hash = :key_hash and sealed = :reserved;

-- name: release
delete from idempotent_answers where user_id = :user_id and key_hash = :key_hash and sealed = :reserved;
