-- Queues deliveries for webhooks that ask for order: numbers each in its item's order, and makes it
-- due if it is the item's head. The arrays hold, for each delivery, its webhook, its item and its
-- event. Returns how many it queued, and the lanes where one is due.
create or replace function public.queue_in_order(
  webhook_ids uuid[], item_ids uuid[], positions bigint[], event_ids uuid[], event_types text[],
  out deliveries bigint, out lanes uuid[]
)
language plpgsql volatile
as $$
#variable_conflict use_column
begin
  with matched as (
    select *
      from unnest(webhook_ids, item_ids, positions, event_ids, event_types) as m (webhook_id, item_id, position, id, type)
  ),
  in_order as (
    select webhook_id, item_id, position, id, type,
           row_number() over (partition by webhook_id, item_id order by position)
           - count(*) over (partition by webhook_id, item_id) as from_newest
      from matched
  ),
  orders as (
    -- The upsert sees the newest version of a row, not the snapshot's. So it knows for certain
    -- whether the item has a head, even if a relay has just ended the head. The numbers of an epoch
    -- begin above its base.
    insert into public.item_orders as o (webhook_id, item_id, sequence, head)
    select webhook_id, item_id, base + count(*), base + 1
      from in_order
     cross join public.epoch
     group by webhook_id, item_id, base
     order by webhook_id, item_id
    on conflict (webhook_id, item_id) do update
       set sequence = greatest(o.sequence, (select base from public.epoch)) + excluded.sequence
                      - (select base from public.epoch),
           head = case when o.blocked_position is null
                       then coalesce(o.head, greatest(o.sequence, (select base from public.epoch)) + 1) end
    returning webhook_id, item_id, sequence, head, not_before
  ),
  placed as (
    -- Sorting brings each delivery to its item's row. The planner cannot know how many there are,
    -- and a nested loop would take seconds.
    select webhook_id, item_id, position, id, type, from_newest + max(newest) over same as sequence, max(head) over same as head,
           max(not_before) over same as not_before
      from (select webhook_id, item_id, position, id, type, from_newest, null::bigint as newest, null::bigint as head,
                   null::timestamptz as not_before
              from in_order
            union all
            select webhook_id, item_id, null, null, null, null, sequence, head, not_before from orders) as both_of_them
    window same as (partition by webhook_id, item_id)
  ),
  queued as (
    insert into public.deliveries (webhook_id, position, event_id, event_type, event_at, item_id, sequence, next_attempt_at)
    select webhook_id, position, id, type, now(), item_id, sequence,
           case when sequence = head
                then case when public.lasts(not_before, now(), '75 seconds') then not_before else now() end end
      from placed
     where position is not null
    returning webhook_id, next_attempt_at
  )
  select count(*), array_agg(distinct webhook_id) filter (where next_attempt_at is not null)
    into deliveries, lanes
    from queued;
end
$$;
