-- name: insert
with stored as (
  insert into items (id, name, sku, serial_number, description, quantity, min_quantity, condition, status, purchase_date,
                     category_id, location_id, attributes, created_at, updated_at)
  values (:id, :name, :sku, :serial_number, :description, :quantity, :min_quantity, :condition, :status, :purchase_date,
          :category_id, :location_id, :attributes, :created_at, :updated_at)
  returning id, quantity
),
moved as (
  insert into stock_moves (item_id, delta, reason, reference_id)
  select id, quantity, :reason, :reference_id from stored
)
select record_mutation(:events, :audits, :author) from stored;

-- name: update
-- Updates an item, and enters a change of its quantity in the ledger. Neither is done without the
-- other.
with stored as (
  update items
     set name = :name, sku = :sku, serial_number = :serial_number, description = :description, quantity = :quantity,
         reserved_quantity = :reserved_quantity, min_quantity = :min_quantity, condition = :condition, status = :status,
         purchase_date = :purchase_date, category_id = :category_id, location_id = :location_id, attributes = :attributes,
         updated_at = :updated_at
   where id = :id and xmin = :version
  returning id
),
moved as (
  insert into stock_moves (item_id, delta, reason, reference_id)
  select id, :delta, :reason, :reference_id from stored where :delta::int <> 0
)
select record_mutation(:events, :audits, :author) from stored;

-- name: delete
with gone as (
  delete from items where id = :id and xmin = :version returning id, quantity
),
moved as (
  insert into stock_moves (item_id, delta, reason)
  select id, -quantity, 'deleted' from gone
)
select record_mutation(:events, :audits, :author) from gone;

-- name: get
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at, xmin as version
  from items
 where id = :id;

-- name: lock
select from items where id = :id for update;

-- name: lock_several
-- In the order of their ids, so that two transactions that lock the same items never wait for each
-- other.
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at, xmin as version
  from items
 where id = any (:ids::uuid[])
 order by id
   for update;
