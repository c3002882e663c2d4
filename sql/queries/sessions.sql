-- name: count_sessions
select count(*)
  from (select
          from sessions
         where user_id = :user_id
           and (:open::boolean is null or (ended_at is null and expires_at > now()) = :open)
         limit :most::bigint) as counted;

-- name: list_sessions
-- Newest first.
select id, created_at, last_used_at, expires_at, ended_at, end_reason, user_agent, ip_address, device_info
  from sessions
 where user_id = :user_id
   and (:open::boolean is null or (ended_at is null and expires_at > now()) = :open)
   and (created_at, id) < (:before_at::timestamptz, :before_id::uuid)
 order by created_at desc, id desc
offset :skip limit :limit;

-- name: owner
-- The user of the session, and whether it is open.
select u.id, u.username, u.email, u.role, s.ended_at is null and s.expires_at > now() as open
  from sessions s
  join users u on u.id = s.user_id
 where s.id = :session_id;

-- name: states
select coalesce(end_reason, case when expires_at > now() then 'active' else 'expired' end) as state, count(*) as sessions,
       max(created_at) as last_login
  from sessions
 where user_id = :user_id
 group by 1
 order by 1;

-- name: devices
select coalesce(device_info, user_agent, 'unknown') as device, count(*) as sessions,
       count(*) filter (where ended_at is null and expires_at > now()) as active, max(last_used_at) as last_used_at
  from sessions
 where user_id = :user_id
 group by 1
 order by max(last_used_at) desc, 1
 limit :limit;
