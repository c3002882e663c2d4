-- name: reader
-- The webhook, the head of the log, and the role of the reader. The role is null if the reader's
-- session has ended, which may happen while the reader waits. The secret is the one of
-- X-Webhook-Signature: the old one while both sign.
select w.id, w.owner_id, w.created_at, w.log_position, (select position from log_head) as head,
       case when lasts(w.overlap_until, clock_timestamp(), '7 days') then w.previous_secret_sealed else w.secret_sealed end as secret_sealed,
       (select u.role
          from sessions as s
          join users as u on u.id = s.user_id
         where s.id = :session_id and s.ended_at is null and u.status = 'active') as role
  from webhooks as w
 where w.id = :webhook_id and w.deleted_at is null;

-- name: start
-- Where the stream of a webhook begins: where the log ended when the webhook was created, or the
-- log's beginning if that is later. If the webhook is older than the
-- column log_position, the time of its creation decides.
select greatest(coalesce(:log_position::bigint, (select min(position) - 1 from events where recorded_at >= :since::timestamptz),
                         head.position),
                coalesce((select min(position) from events) - 1, head.position))
  from log_head as head;

-- name: earliest
-- The position before the oldest event.
select coalesce((select min(position) from events), head.position + 1) - 1 from log_head as head;

-- name: page
-- A page: the events that a webhook wants from the next stretch of the log. There is always a row,
-- and it says how far the log reaches.
-- Fan-out moves the head and writes the events in one transaction, and holds the head's row locked
-- until that ends. So a snapshot that has an event, or the head that it moved, has every earlier
-- event as well. No position is seen before a smaller one.
-- The stretch ends `scan` positions on. If a new epoch has left a gap there, it ends just before
-- the next event. `last` is the event at its end. `here` is the event after which it begins. It is
-- null if there is none, which is right only where an epoch begins.
with log as (
  select head.position as head, coalesce((select min(position) from events), head.position + 1) as earliest
    from log_head as head
),
stretch as (
  select coalesce((select min(position) - 1 from events where position > :after::bigint + :scan::bigint), log.head) as until from log
),
found as (
  select e.position, e.id, e.type, e.data, e.occurred_at
    from webhooks as w
    join users as u on u.id = w.owner_id
   cross join events as e
   where w.id = :webhook_id
     and e.position > :after and e.position <= (select until from stretch)
     and webhook_wants(w, u.role, e.type, e.audience, e.location_ids, e.category_id, e.user_ids, e.stock)
   order by e.position
   limit :limit
),
sized as (
  select found.*, sum(octet_length(data)) over (order by position) as bytes, row_number() over (order by position) as number
    from found
),
page as (
  select * from sized where bytes <= :bytes::bigint or number = 1
)
select log.head, log.earliest, stretch.until, last.position as last_position, last.id as last_id,
       (select id from events where position = :after) as here,
       :after in (select unnest(bases) from epoch) as begins,
       (select count(*) from found) = :limit or (select count(*) from page) < (select count(*) from found) as cut,
       page.position, page.id, page.type, page.data, page.occurred_at
  from log
 cross join stretch
  left join lateral (
    select position, id from events where position <= stretch.until order by position desc limit 1
  ) as last on true
  left join page on true
 order by page.position;

-- name: head
select position from log_head;
