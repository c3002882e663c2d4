-- name: forget_sessions
delete from sessions
 where id in (
   select id from sessions
    where coalesce(ended_at, expires_at) < coalesce(:now::timestamptz, now()) - :ttl::interval
    limit :batch
      for update skip locked);

-- name: forget_login_failures
delete from login_failures
 where ctid = any (array(
   select ctid from login_failures where at < coalesce(:now::timestamptz, now()) - :ttl::interval
    limit :batch
      for update skip locked));

-- name: forget_audit
delete from audit
 where id in (
   select id from audit
    where at < coalesce(:now::timestamptz, now()) - :ttl::interval
    order by at
    limit :batch
      for update skip locked);
