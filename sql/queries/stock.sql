-- name: insert
with stored as (
  insert into items (id, name, sku, serial_number, description, quantity, min_quantity, condition, status, purchase_date,
                     category_id, location_id, attributes)
  values (:id, :name, :sku, :serial_number, :description, :quantity, :min_quantity, :condition, :status, :purchase_date,
          :category_id, :location_id, :attributes)
  returning id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
            category_id, location_id, attributes, created_at, updated_at
),
moved as (
  insert into stock_moves (item_id, delta, reason, reference_id)
  select id, quantity, :reason, :reference_id from stored
)
select * from stored;

-- name: update
-- Updates an item, and enters a change of its quantity in the ledger. Neither is done without the
-- other.
with moved as (
  insert into stock_moves (item_id, delta, reason, reference_id)
  select :id, :delta, :reason, :reference_id where :delta::int <> 0
)
update items
   set name = :name, sku = :sku, serial_number = :serial_number, description = :description, quantity = :quantity,
       reserved_quantity = :reserved_quantity, min_quantity = :min_quantity, condition = :condition, status = :status,
       purchase_date = :purchase_date, category_id = :category_id, location_id = :location_id, attributes = :attributes,
       -- Not now(): a transaction that waited for this row began before the one that held it ended.
       updated_at = clock_timestamp()
 where id = :id
returning id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
          category_id, location_id, attributes, created_at, updated_at;

-- name: delete
with gone as (
  delete from items where id = :id returning id, quantity
)
insert into stock_moves (item_id, delta, reason)
select id, -quantity, 'deleted' from gone;

-- name: lock
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where id = :id
   for update;

-- name: lock_several
-- In the order of their ids, so that two transactions that lock the same items never wait for each
-- other.
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where id = any (:ids::uuid[])
 order by id
   for update;
