-- The events of a stretch of the log that a replay queues again for a webhook: those that ended as
-- `wanted` says, and those that the webhook missed. `item_id` and `sequence`: what it was queued
-- with; for an event that was missed by a webhook that asks for order, its item.
create or replace function public.replayable(
  webhook uuid, after_position bigint, through_position bigint, since timestamptz, until timestamptz, wanted text,
  types text[], log_from timestamptz
) returns table (
  event_position bigint, event_id uuid, event_type text, event_at timestamptz, occurred_at timestamptz,
  outcome text, attempt integer, ended_at timestamptz, item_id uuid, sequence bigint
)
language sql stable parallel safe
as $$
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
    join public.attempts as a on a.webhook_id = w.id
    join public.events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('failed', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome in ('failed', 'cancelled', 'expired') and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
    join public.attempts as a on a.webhook_id = w.id
    join public.events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('success', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome = 'success' and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, null, null, null,
         case when w.ordering = 'item' then e.item_id end, null
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
   cross join public.events as e
   where w.id = webhook and wanted in ('missing', 'all')
     and e.position > after_position and e.position <= through_position
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.webhook_wants(w, u.role, e.type, e.audience, e.location_ids, e.category_id, e.user_ids, e.stock)
     and not exists (select from public.deliveries as d where d.webhook_id = w.id and d.position = e.position)
     and not exists (select from public.attempts as a
                      where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at)
$$;
