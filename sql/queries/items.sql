-- name: count_visible
-- A foreman sees the items of the locations assigned to them, and those without a location. Null: everybody else.
select count(*)
  from items
 where (:category_id::uuid is null or category_id = :category_id)
   and (:location_id::uuid is null or location_id = :location_id)
   and (:status::text is null or status = :status)
   and (:pattern::text is null or lower(name) like lower(:pattern) or lower(sku) like lower(:pattern))
   and (:foreman_id::uuid is null or location_id is null
        or exists (select from location_foremen as assigned
                    where assigned.location_id = items.location_id and assigned.user_id = :foreman_id));

-- name: list_visible
-- By id, so that an item that is created meanwhile comes last and moves no page.
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where (:category_id::uuid is null or category_id = :category_id)
   and (:location_id::uuid is null or location_id = :location_id)
   and (:status::text is null or status = :status)
   and (:pattern::text is null or lower(name) like lower(:pattern) or lower(sku) like lower(:pattern))
   and (:foreman_id::uuid is null or location_id is null
        or exists (select from location_foremen as assigned
                    where assigned.location_id = items.location_id and assigned.user_id = :foreman_id))
   and id > :after
 order by id
offset :skip limit :limit;

-- name: get
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at,
       :foreman_id::uuid is null or location_id is null
       or exists (select from location_foremen as assigned
                   where assigned.location_id = items.location_id and assigned.user_id = :foreman_id) as readable
  from items
 where id = :id;

-- name: lock
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where id = :id
   for update;

-- name: lock_several
-- In the order of their ids, so that two who want the same items do not wait for each other.
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where id = any (:ids::uuid[])
 order by id
   for update;

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
-- With the entry in the ledger for a change of the quantity: the one is never without the other.
with moved as (
  insert into stock_moves (item_id, delta, reason, reference_id)
  select :id, :delta, :reason, :reference_id where :delta::int <> 0
)
update items
   set name = :name, sku = :sku, serial_number = :serial_number, description = :description, quantity = :quantity,
       reserved_quantity = :reserved_quantity, min_quantity = :min_quantity, condition = :condition, status = :status,
       purchase_date = :purchase_date, category_id = :category_id, location_id = :location_id, attributes = :attributes,
       -- Not now(): a transaction that waited for the row began before the one that it waited for ended.
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
