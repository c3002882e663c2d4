-- Lists deliveries that have been pending, and events that have waited for fan-out, for longer than
-- :older_than, and rows that were set aside. Each row has its reason, as far as it is known.
--   psql "$DATABASE_URL" -v older_than='1 hour' -f sql/audit/undelivered.sql

set search_path = public, pg_temp;

\if :{?older_than}
\else
  \set older_than '5 minutes'
\endif

select 'delivery' as what,
       d.event_id,
       d.event_type,
       d.webhook_id,
       w.url,
       case
         when w.deleted_at is not null then 'webhook deleted; will be cancelled'
         when not w.active then 'webhook inactive: parked'
         when u.status <> 'active' then 'owner suspended: parked'
         when o.blocked_position is not null then 'its item is blocked by a failed event: retry or skip that'
         when d.next_attempt_at is null then 'waits behind another event of its item'
         when d.leased_by is not null and d.lease_until > now() then 'being sent'
         when d.next_attempt_at > now() then 'waits for its next attempt'
         else 'due: is a relay running?'
       end as state,
       d.attempts,
       d.next_attempt_at,
       last.error as last_error,
       date_trunc('second', now() - d.created_at) as pending_for
  from deliveries as d
  join webhooks as w on w.id = d.webhook_id
  join users as u on u.id = w.owner_id
  left join item_orders as o on o.webhook_id = d.webhook_id and o.item_id = d.item_id
  left join lateral (
    select a.error
      from attempts as a
     where a.webhook_id = d.webhook_id and a.position = d.position
     order by a.recorded_at desc
     limit 1
  ) as last on true
 where d.created_at < now() - :'older_than'::interval
union all
select 'outbox', id, type, null, null, 'not fanned out: is a relay running?', 0, null, null, date_trunc('second', now() - written_at)
  from outbox
 where written_at < now() - :'older_than'::interval
union all
select 'set aside', id, type, null, null, 'cannot be fanned out', 0, null, reason, date_trunc('second', now() - set_aside_at)
  from set_aside
 order by pending_for desc;
