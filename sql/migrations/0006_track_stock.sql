-- A ledger of stock, so that where units came from and went to can be shown, and lost ones found.

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
