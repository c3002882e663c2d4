-- The webhooks that are listed under an event's type and one of its filtered values. If the event
-- lacks a filtered value, all webhooks with that kind of filter are looked up, because a filter
-- applies only to events that carry the value.
-- Trap: `offset 0` keeps this a lookup. Joined the other way round, every event would meet all
-- webhooks of its type.
create or replace function public.subscribed(wanted text, location_ids uuid[], category_id uuid) returns table (webhook_id uuid)
language sql stable parallel safe
as $$
  select s.webhook_id from public.subscriptions as s
   where s.event_type = wanted and s.kind = 'any' and s.key = '00000000-0000-0000-0000-000000000000'
  union all
  select distinct s.webhook_id
    from (select 'location' as kind, place.id as low, place.id as high from unnest(location_ids) as place (id)
          union all
          select 'location', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
           where location_ids = '{}'
          union all
          select 'category', coalesce(category_id, '00000000-0000-0000-0000-000000000000'),
                 coalesce(category_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) as filter
   cross join lateral (
     select t.webhook_id
       from public.subscriptions as t
      where t.event_type = wanted and t.kind = filter.kind and t.key between filter.low and filter.high offset 0) as s
  offset 0
$$;
