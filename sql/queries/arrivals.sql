-- name: lock_place
-- One arrival at a location at a time. If two of the same kind arrive, the second must find the
-- item that the first made.
select from locations where id = :location_id for no key update;

-- name: match
-- The item at a location that units of another item join. It is the one of the same sku, or else
-- the one of the same name, if at least one of the two has no sku. A serial number names one unit,
-- so no units join an item with a serial number because of its name alone.
select there.id
  from items as moved
  join items as there
    on there.location_id = :location_id and there.id <> moved.id
   and (there.sku = moved.sku collate "C"
        or (there.name = moved.name collate "C" and (there.sku is null or moved.sku is null)
            and there.serial_number is null and there.status not in ('retired', 'lost')))
 where moved.id = :item_id
 order by there.sku is not distinct from moved.sku desc, there.id
 limit 1;
