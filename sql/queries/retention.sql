-- name: forget_sessions
with gone as (
  delete from sessions
   where id in (
     select id from sessions
      where coalesce(ended_at, expires_at) < coalesce(:now::timestamptz, now()) - :ttl::interval
      limit :batch
        for update skip locked)
  returning id
)
select count(*) from gone;

-- name: forget_login_failures
with gone as (
  delete from login_failures
   where ctid = any (array(
     select ctid from login_failures where at < coalesce(:now::timestamptz, now()) - :ttl::interval
      limit :batch
        for update skip locked))
  returning at
)
select count(*) from gone;

-- name: forget_audit
with gone as (
  delete from audit
   where id in (
     select id from audit
      where at < coalesce(:now::timestamptz, now()) - :ttl::interval
      order by at
      limit :batch
        for update skip locked)
  returning id
)
select count(*) from gone;

-- name: fold_counts
-- Days that the log has nothing of any more become one, long ago, for each webhook and status: what is counted for ever is only
-- ever summed, and one that lists webhooks would sum more rows each day. How many became one.
with old as (
  delete from delivery_counts
   where ctid = any (array(
     select c.ctid
       from delivery_counts as c
      where c.day > '0001-01-01'
        and c.day < ((coalesce(:now::timestamptz, now()) - :ttl::interval - interval '2 days') at time zone 'UTC')::date
        and not exists (select from attempts as a
                         where a.recorded_at >= c.day::timestamp at time zone 'UTC'
                           and a.recorded_at < (c.day + 1)::timestamp at time zone 'UTC')
      limit :batch
        for update skip locked))
  returning webhook_id, status, ended, current, last_at
),
folded as (
  insert into delivery_counts as c (webhook_id, day, status, ended, current, last_at)
  select webhook_id, '0001-01-01', status, sum(ended), sum(current), max(last_at)
    from old
   group by webhook_id, status
  on conflict (webhook_id, day, status) do update
     set ended = c.ended + excluded.ended,
         current = c.current + excluded.current,
         last_at = greatest(c.last_at, excluded.last_at)
)
select count(*) from old;
