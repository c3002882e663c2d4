-- name: try_lock
-- The lock is held to the end of the transaction. If two keys have the same hash, they only refuse
-- each other while both run.
select pg_try_advisory_xact_lock(:lock);

-- name: find
-- An answer counts however old it is. Only housekeeping removes answers, because it knows whether
-- the clock can be trusted. No reservation lasts longer than `most_seconds` from now: a later end
-- was set by a clock that was ahead.
select sealed, running_until is not null as running
  from idempotent_answers
 where user_id = :user_id and key_hash = :key_hash
   and (running_until is null or lasts(running_until, now(), make_interval(secs => :most_seconds)));

-- name: keep
-- Returns no row if there is a row that still counts. A kept answer is never overwritten.
insert into idempotent_answers as a (user_id, key_hash, sealed, running_until)
values (:user_id, :key_hash, :sealed, clock_timestamp() + make_interval(secs => :running_seconds::float8))
    on conflict (user_id, key_hash) do update
   set sealed = excluded.sealed, running_until = excluded.running_until, created_at = excluded.created_at
 where a.running_until is not null and not lasts(a.running_until, now(), make_interval(secs => :most_seconds))
returning true;

-- name: complete
-- Keeps the answer only if this request reserved the key: then the row still holds what it sealed.
update idempotent_answers
   set sealed = :sealed, running_until = null
 where user_id = :user_id and key_hash = :key_hash and sealed = :reserved;

-- name: release
delete from idempotent_answers where user_id = :user_id and key_hash = :key_hash and sealed = :reserved;
