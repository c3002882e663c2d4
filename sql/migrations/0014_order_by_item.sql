-- Order by item, for webhooks that ask for it: of one item's events one is under way at a time, and the next only when the one
-- before it has ended. Each gets the next number of its webhook and item when it is queued, and keeps it for ever.

alter table webhooks
  add column ordering   text check (ordering = 'item'),
  -- What a delivery that failed for good does to the item's later ones: they wait until somebody retries or skips it, or follow.
  add column on_failure text check (on_failure in ('block', 'skip')),
  add constraint webhooks_order_check check ((ordering is null) = (on_failure is null));

-- The item that the event's data names, if any.
alter table events add column item_id uuid;

alter table deliveries
  add column item_id  uuid,
  add column sequence bigint check (sequence > 0),
  add constraint deliveries_order_check check ((item_id is null) = (sequence is null)),
  -- Null: it waits until the one before it has ended. So claims and sweeps see heads only, and cost what they did.
  alter column next_attempt_at drop not null,
  add constraint deliveries_waiting_check check (
    next_attempt_at is not null or (sequence is not null and leased_by is null));
create unique index deliveries_order on deliveries (webhook_id, item_id, sequence) where sequence is not null;
drop index deliveries_lane;
create index deliveries_lane on deliveries (webhook_id, next_attempt_at) where next_attempt_at is not null;

alter table attempts
  add column item_id  uuid,
  add column sequence bigint,
  add constraint attempts_sequence_check check ((item_id is null) = (sequence is null)),
  drop constraint attempts_outcome_check,
  -- A skip ends nothing: it stands beside the failed end that no longer blocks its item.
  add constraint attempts_outcome_check check (
    outcome in ('success', 'retry', 'failed', 'superseded', 'cancelled', 'expired', 'skipped'));

-- Where each item stands with each webhook. Whoever queues or ends deliveries of an item locks its row first, several in the order
-- of the key, and looks at deliveries in a later statement: so what it sees there is what the one before it left.
create table item_orders (
  webhook_id       uuid        not null references webhooks on delete cascade,
  item_id          uuid        not null,
  -- The newest number given.
  sequence         bigint      not null check (sequence >= 0),
  -- The number that may be sent, which is in deliveries. Null: nothing is pending, or the item is blocked.
  head             bigint      check (head <= sequence),
  -- The failed event that the later ones wait for, and when it was recorded.
  blocked_position bigint,
  blocked_event_at timestamptz,
  -- A request that was given up while it was under way has ended by then.
  not_before       timestamptz,
  primary key (webhook_id, item_id),
  constraint item_orders_blocked_check check (
    (blocked_position is null) = (blocked_event_at is null) and (blocked_position is null or head is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
create unique index item_orders_blocked on item_orders (webhook_id, blocked_position) where blocked_position is not null;

-- As before, with the item of what a webhook that asks for order has missed, and the item and number of what it was queued for.
drop function replayable(uuid, bigint, bigint, timestamptz, timestamptz, text, text[], timestamptz);
create function replayable(
  webhook uuid, after_position bigint, through_position bigint, since timestamptz, until timestamptz, wanted text,
  types text[], log_from timestamptz
) returns table (
  event_position bigint, event_id uuid, event_type text, event_at timestamptz, occurred_at timestamptz,
  outcome text, attempt integer, ended_at timestamptz, item_id uuid, sequence bigint
)
language sql stable parallel safe
as $$
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from webhooks as w
    join users as u on u.id = w.owner_id
    join attempts as a on a.webhook_id = w.id
    join events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('failed', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome in ('failed', 'cancelled', 'expired') and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from webhooks as w
    join users as u on u.id = w.owner_id
    join attempts as a on a.webhook_id = w.id
    join events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('success', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome = 'success' and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, null, null, null,
         case when w.ordering = 'item' then e.item_id end, null
    from webhooks as w
    join users as u on u.id = w.owner_id
   cross join events as e
   where w.id = webhook and wanted in ('missing', 'all')
     and e.position > after_position and e.position <= through_position
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and webhook_wants(w, u.role, e.type, e.audience, e.location_ids, e.category_id, e.user_ids, e.stock)
     and not exists (select from deliveries as d where d.webhook_id = w.id and d.position = e.position)
     and not exists (select from attempts as a
                      where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at)
$$;
