-- name: insert_user
with stored as (
  insert into users (id, username, email, full_name, role, status, password_hash, created_at, updated_at)
  values (:id, :username, :email, :full_name, :role, :status, :password_hash, :created_at, :created_at)
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: user_by_id
select id, username, email, full_name, role, status, created_at, updated_at
  from users
 where id = :id;

-- name: find_login
-- A user name holds no @, and an e-mail address does. So at most one row is found.
select id, password_hash
  from users
 where lower(username collate "C") = lower(:identifier collate "C")
    or lower(email collate "C") = lower(:identifier collate "C");

-- name: lock_login
-- Not `for update`, so that sessions that refer to the row can be written meanwhile.
select id, username, email, full_name, role, status, created_at, updated_at, password_hash
  from users
 where id = :id
   for no key update;

-- name: set_password_hash
update users set password_hash = :password_hash where id = :id;

-- name: insert_session
insert into sessions (user_id, expires_at, user_agent, ip_address, device_info)
values (:user_id, now() + :lifetime::interval, :user_agent, :ip_address, :device_info)
returning id, expires_at, now() as now;

-- name: session
select s.id as session_id, s.expires_at, s.ended_at is not null as ended, s.expires_at <= now() as expired,
       s.refresh_generation as generation, u.status = 'active' as user_active,
       s.last_used_at not between now() - interval '1 minute' and now() as stale, now() as now,
       u.id as user_id, u.username, u.email, u.full_name, u.role
  from sessions s
  join users u on u.id = s.user_id
 where s.id = :session_id and s.user_id = :user_id;

-- name: lock_session
-- clock_timestamp(), not now(), because the transaction may have waited for the row.
select s.ended_at is not null as ended, s.expires_at <= clock_timestamp() as expired,
       s.refresh_generation as generation, u.status = 'active' as user_active, clock_timestamp() as now,
       u.id, u.username, u.email, u.full_name, u.role, u.status, u.created_at, u.updated_at
  from sessions s
  join users u on u.id = s.user_id
 where s.id = :session_id and s.user_id = :user_id
   for no key update of s;

-- name: rotate_session
update sessions
   set refresh_generation = refresh_generation + 1, last_used_at = now(), expires_at = now() + :lifetime::interval
 where id = :session_id
returning refresh_generation, now() as now;

-- name: end_session
update sessions
   set ended_at = now(), end_reason = :reason
 where id = :session_id and ended_at is null
returning id;

-- name: end_sessions
-- In the order of their ids, so that two such statements never wait for each other.
with locked as (
  select id
    from sessions
   where user_id = :user_id and ended_at is null and expires_at > now() and id is distinct from :keep::uuid
   order by id
     for no key update
)
update sessions
   set ended_at = now(), end_reason = :reason
  from locked
 where sessions.id = locked.id
returning sessions.id;

-- name: use_sessions
-- Skips rows that another transaction has locked; the next use writes them. Nothing waits for this
-- statement, and it waits for nothing. No session can last longer than `lifetime` from now: a later
-- end was set by a clock that was ahead.
with used as (
  select id
    from sessions
   where id = any (:ids::uuid[]) and ended_at is null
     and last_used_at not between now() - interval '1 minute' and now()
     for no key update skip locked
)
update sessions
   set last_used_at = now(), expires_at = least(expires_at, now() + :lifetime::interval)
  from used
 where sessions.id = used.id;

-- name: password_hash
select password_hash from users where id = :id;

-- name: await_login_turn
-- Logins of one name from one address are counted one after the other, whichever API process gets
-- them.
select await_login_turn(:identifier, :ip_address);

-- name: login_wait
-- In how many seconds the next login of this name from this address may be tried. No row: now. A
-- failure more than a minute ahead does not count, because a clock that was ahead noted it. Up to a
-- minute ahead it counts: it may have been noted while this transaction waited for its turn.
select least(ceil(extract(epoch from min(at) + make_interval(mins => :minutes) - now())), :minutes * 60)::int
  from (select at
          from login_failures
         where identifier = lower(:identifier collate "C") and ip_address = :ip_address
           and at between now() - make_interval(mins => :minutes) and now() + interval '1 minute'
         order by at desc
         limit :most) as latest
having count(*) >= :most;

-- name: insert_login_failure
insert into login_failures (identifier, ip_address) values (lower(:identifier collate "C"), :ip_address);

-- name: forget_login_failures
delete from login_failures where identifier = lower(:identifier collate "C") and ip_address = :ip_address;
