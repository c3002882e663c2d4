-- name: locations_of_sku
-- Where there are items of a sku, as far as the reader may see them.
select i.location_id, l.name as location_name, sum(i.quantity)::bigint as quantity,
       sum(i.reserved_quantity)::bigint as reserved_quantity
  from items as i
  left join locations as l on l.id = i.location_id
 where i.sku = :sku collate "C"
   and (:foreman_id::uuid is null or i.location_id is null
        or exists (select from location_foremen as assigned
                    where assigned.location_id = i.location_id and assigned.user_id = :foreman_id))
 group by i.location_id, l.name
 order by l.name nulls last, i.location_id;

-- name: locations_of_name
-- The same for items without a sku, which go by their name.
select i.location_id, l.name as location_name, sum(i.quantity)::bigint as quantity,
       sum(i.reserved_quantity)::bigint as reserved_quantity
  from items as i
  left join locations as l on l.id = i.location_id
 where i.sku is null and i.name = :name collate "C"
   and (:foreman_id::uuid is null or i.location_id is null
        or exists (select from location_foremen as assigned
                    where assigned.location_id = i.location_id and assigned.user_id = :foreman_id))
 group by i.location_id, l.name
 order by l.name nulls last, i.location_id;

-- name: count_moves
-- An item's row moves by edits, each of which the audit trail has. A foreman sees the moves from or to an assigned location.
select count(*)
  from (select
          from audit as entry
         where entry.entity = 'item' and entry.entity_id = :id
           and (entry.before ->> 'location_id') is distinct from (entry.after ->> 'location_id')
           and entry.after is not null
           and (:foreman_id::uuid is null
                or exists (select from location_foremen as assigned
                            where assigned.user_id = :foreman_id
                              and assigned.location_id::text in (entry.before ->> 'location_id', entry.after ->> 'location_id')))
         limit :most::bigint) as counted;

-- name: list_moves
select entry.id, entry.before ->> 'location_id' as from_location_id, entry.after ->> 'location_id' as to_location_id, entry.at,
       entry.actor_id, actor.username, entry.action
  from audit as entry
  left join users as actor on actor.id = entry.actor_id
 where entry.entity = 'item' and entry.entity_id = :id
   and (entry.before ->> 'location_id') is distinct from (entry.after ->> 'location_id')
   and entry.after is not null
   and (:foreman_id::uuid is null
        or exists (select from location_foremen as assigned
                    where assigned.user_id = :foreman_id
                      and assigned.location_id::text in (entry.before ->> 'location_id', entry.after ->> 'location_id')))
   and (entry.at, entry.id) < (:before_at::timestamptz, :before_id::uuid)
 order by entry.at desc, entry.id desc
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
