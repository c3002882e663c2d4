-- name: locations_of_sku
-- The locations that have items of a sku, as far as the reader may see them.
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
-- The same for items without a sku, by their name.
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
-- An item moves to another location by an edit, and the audit trail has each edit. A foreman sees
-- the moves from or to an assigned location.
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
