-- Stock that moves: a ledger, so that where units came from and went to can be shown, and lost ones found; and transfers.

-- Every change of an item's quantity: items.quantity is the sum of the item's deltas. No foreign key: the ledger outlives its items.
create table stock_moves (
  seq          bigint      generated always as identity primary key,
  item_id      uuid        not null,
  delta        integer     not null,
  reason       text        not null check (reason in ('created', 'counted', 'transfer', 'checkout', 'checkin', 'deleted')),
  -- The transfer or checkout that moved the units.
  reference_id uuid,
  at           timestamptz not null default clock_timestamp(),
  check (delta <> 0 or reason in ('created', 'deleted')),
  check ((reference_id is not null) = (reason in ('transfer', 'checkout', 'checkin')))
);
create index stock_moves_item_id on stock_moves (item_id, seq);
create index stock_moves_reference_id on stock_moves (reference_id) where reference_id is not null;

insert into stock_moves (item_id, delta, reason, at)
select id, quantity, 'created', created_at from items order by id;

-- Units on their way from one location to another. No foreign keys: an ended transfer outlives its item, its locations and its
-- users. An open one reserves units, which keeps its item; its locations are kept by the command that deletes them.
create table transfers (
  id               uuid        not null default uuidv7() primary key,
  item_id          uuid        not null,
  from_location_id uuid        not null,
  to_location_id   uuid        not null check (to_location_id <> from_location_id),
  quantity         integer     not null check (quantity > 0),
  reason           text        check (char_length(reason) <= 8000),
  status           text        not null default 'pending',
  -- The state before this one.
  came_from        text,
  requested_by     uuid        not null,
  approved_by      uuid,
  approved_at      timestamptz,
  rejected_by      uuid,
  rejected_at      timestamptz,
  rejection_reason text        check (char_length(rejection_reason) <= 8000),
  dispatched_by    uuid,
  dispatched_at    timestamptz,
  completed_by     uuid,
  completed_at     timestamptz,
  cancelled_by     uuid,
  cancelled_at     timestamptz,
  -- The item that the units went into; the item itself, if it moved whole.
  to_item_id       uuid,
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),
  -- The state machine. An update sets came_from to the status that it replaces.
  constraint transfers_edge_check check (
    case when came_from is null then status = 'pending'
         when came_from = 'pending' then status in ('approved', 'rejected', 'cancelled')
         when came_from = 'approved' then status in ('in_transit', 'completed', 'cancelled')
         when came_from = 'in_transit' then status in ('completed', 'cancelled')
         else false
    end),
  -- Who did each step, and when, is known exactly where the way to the present state went through it.
  constraint transfers_steps_check check (
    num_nulls(approved_by, approved_at) <> 1
    and num_nulls(rejected_by, rejected_at) <> 1
    and num_nulls(dispatched_by, dispatched_at) <> 1
    and num_nulls(completed_by, completed_at) <> 1
    and num_nulls(cancelled_by, cancelled_at) <> 1
    and (approved_at is not null) = (status in ('approved', 'in_transit', 'completed')
                                     or (status = 'cancelled' and came_from <> 'pending'))
    and (dispatched_at is not null) = (status = 'in_transit' or came_from is not distinct from 'in_transit')
    and (rejected_at is not null) = (status = 'rejected')
    and (completed_at is not null) = (status = 'completed')
    and (cancelled_at is not null) = (status = 'cancelled')
    and (to_item_id is not null) = (status = 'completed')
    and (rejection_reason is null or status = 'rejected'))
);
create index transfers_item_id on transfers (item_id, id);
create index transfers_from_location_id on transfers (from_location_id, id);
create index transfers_to_location_id on transfers (to_location_id, id);
create index transfers_requested_by on transfers (requested_by, id);
create index transfers_status on transfers (status, id);
