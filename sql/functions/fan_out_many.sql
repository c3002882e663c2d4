-- The part of fan_out for a batch of any size: one statement. It moves the oldest events, up to the
-- first that is stuck, from the outbox into the log, in order, and queues a delivery for each
-- webhook that matches. Deliveries that go in an item's order are only returned, for
-- queue_in_order. It leases at most `per_webhook` deliveries of a lane and `most` in all, those of
-- the oldest events first.
create or replace function public.fan_out_many(
  batch integer, relay_id uuid, most integer, per_webhook integer, crowded uuid[], claimed_at timestamptz,
  out events bigint, out deliveries bigint, out lanes uuid[],
  out webhook_ids uuid[], out positions bigint[], out fences bigint[], out versions bigint[],
  out event_positions bigint[], out event_ids uuid[], out event_types text[], out datas text[],
  out occurred_ats timestamptz[], out traceparents text[],
  out ordered_webhook_ids uuid[], out ordered_item_ids uuid[], out ordered_positions bigint[],
  out ordered_event_ids uuid[], out ordered_event_types text[],
  out seen bigint, out stuck boolean
)
language plpgsql volatile
set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
begin
  with oldest as materialized (
    select o.seq, o.stuck from oldest_events(batch) as o
  ),
  found as materialized (
    select count(*) as rows, bool_or(stuck) as stuck, min(seq) as first,
           coalesce(min(seq) filter (where stuck) - 1, max(seq)) as through
      from oldest
  ),
  moved as (
    delete from outbox as o
     using found
     -- Rows before the first are deleted, but while an old snapshot is open, their index entries
     -- would still be read.
     where o.seq >= found.first and o.seq <= found.through
    returning o.*
  ),
  head as (
    update log_head
       set position = position + moved.rows
      from (select count(*) as rows from moved) as moved
     where moved.rows > 0
    returning position - moved.rows as before, moved.rows
  ),
  event as (
    -- Without a head of the log there is no position, and the log refuses the event. So no event is
    -- lost.
    select moved.*, (select before from head) + row_number() over (order by moved.seq) as position
      from moved
  ),
  alike as (
    -- Events that differ in nothing that webhooks are matched by are matched once.
    select type, audience, location_ids, category_id, user_ids, stock, array_agg(position) as positions,
           array_agg(id) as ids, array_agg(item_id) as item_ids
      from event
     group by type, audience, location_ids, category_id, user_ids, stock
  ),
  matched as materialized (
    select webhook_id, timeout_ms, version, leasable, type, position, id, case when ordering = 'item' then item_id end as item_id
      from (select w.*, a.type, unnest(a.positions) as position, unnest(a.ids) as id, unnest(a.item_ids) as item_id
              from alike as a
             cross join lateral matching_webhooks(a.type, a.audience, a.location_ids, a.category_id, a.user_ids, a.stock,
                                                  relay_id, crowded) as w) as pair
  ),
  logged as (
    insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                        item_id, traceparent, deliveries)
    select n.position, n.id, n.seq, n.type, n.data, n.occurred_at, n.audience, n.location_ids, n.category_id, n.user_ids,
           n.stock, n.item_id, n.traceparent, coalesce(m.deliveries, 0)
      from event as n
      left join (select position, count(*) as deliveries from matched group by position) as m on m.position = n.position
  ),
  shared as (
    select *, leasable and row_number() over (partition by webhook_id order by position) <= per_webhook as fits
      from matched
  ),
  offered as (
    select *, fits and count(*) filter (where fits) over (order by position, webhook_id rows unbounded preceding) <= most as leased
      from shared
  ),
  due as (
    select *, case when leased then nextval('fences') end as fence from offered
  ),
  queued as (
    insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until, fence)
    select d.webhook_id, d.position, d.id, d.type, now(), now(),
           case when d.leased then relay_id end,
           case when d.leased then claimed_at + make_interval(secs => d.timeout_ms / 1000.0 + 10) end,
           d.fence
      from due as d
     where d.item_id is null
  )
  select coalesce((select rows from head), 0), done.*, event.*, ordered.*, found.rows, found.stuck
    into events, deliveries, lanes, webhook_ids, positions, fences, versions,
         event_positions, event_ids, event_types, datas, occurred_ats, traceparents,
         ordered_webhook_ids, ordered_item_ids, ordered_positions, ordered_event_ids, ordered_event_types,
         seen, stuck
    from found
   cross join (
     select count(*) filter (where item_id is null),
            array_agg(distinct webhook_id) filter (where item_id is null and not leased),
            array_agg(webhook_id) filter (where leased),
            array_agg(position) filter (where leased),
            array_agg(fence) filter (where leased),
            array_agg(version) filter (where leased)
       from due) as done
   cross join lateral (
     select array_agg(position), array_agg(id), array_agg(type), array_agg(data), array_agg(occurred_at), array_agg(traceparent)
       from event
      where position between (select min(position) from due where leased) and (select max(position) from due where leased)
     ) as event
   cross join (
     select array_agg(webhook_id), array_agg(item_id), array_agg(position), array_agg(id), array_agg(type)
       from due
      where item_id is not null) as ordered;
end
$$;
