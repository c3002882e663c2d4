-- Lists of items: a count and a page, by all filters and in every order. A foreman sees the items
-- of the locations assigned to them, and those without a location. `foreman_id` is null for all
-- other users. A filter that is null lets all items through.
--
-- These statements must be planned for their values, not once for all (plan_for_values). Then the
-- filters that are null are gone before the plan is made. `first` and `second` are a search's
-- longest words, by which the trigram index finds items; `words` are all of its words.

-- name: by_ids
select id, name, sku, serial_number, description, quantity, reserved_quantity, min_quantity, condition, status, purchase_date,
       category_id, location_id, attributes, created_at, updated_at
  from items
 where id = any (:ids::uuid[]);

-- name: count_found
select count(*)
  from (select
          from item_texts as t
          join items as i on i.id = t.item_id
         where t.text like search_pattern(:first::text) and t.text like search_pattern(:second::text)
           and t.text like all (array(select search_pattern(word) from unnest(:words::text[]) as word))
           and (:category_ids::uuid[] is null or i.category_id = any (:category_ids))
           and (:location_id::uuid is null or i.location_id = :location_id)
           and (:status::text is null or i.status = :status)
           and (:condition::text is null or i.condition = :condition)
           and (:serial_number::text is null or i.serial_number = :serial_number)
           and (:low_stock::boolean is distinct from true or i.quantity < i.min_quantity)
           and (:low_stock is distinct from false or i.quantity >= i.min_quantity)
           and (:updated_since::timestamptz is null or i.updated_at >= :updated_since)
           and (:created_since::timestamptz is null or i.created_at >= :created_since)
           and (:purchased_since::date is null or coalesce(i.purchase_date, '-infinity') >= :purchased_since)
           and (:purchased_until::date is null or coalesce(i.purchase_date, '-infinity') <= :purchased_until and i.purchase_date is not null)
           and (:foreman_id::uuid is null or i.location_id is null
                or i.location_id = any (array(select location_id from location_foremen where user_id = :foreman_id)))
         limit :most) as counted;

-- name: count_listed
-- Counts the items, up to `most`.
select count(*)
  from (select
          from items as i
         where (:category_ids::uuid[] is null or i.category_id = any (:category_ids))
           and (:location_id::uuid is null or i.location_id = :location_id)
           and (:status::text is null or i.status = :status)
           and (:condition::text is null or i.condition = :condition)
           and (:serial_number::text is null or i.serial_number = :serial_number)
           and (:low_stock::boolean is distinct from true or i.quantity < i.min_quantity)
           and (:low_stock is distinct from false or i.quantity >= i.min_quantity)
           and (:updated_since::timestamptz is null or i.updated_at >= :updated_since)
           and (:created_since::timestamptz is null or i.created_at >= :created_since)
           and (:purchased_since::date is null or coalesce(i.purchase_date, '-infinity') >= :purchased_since)
           and (:purchased_until::date is null or coalesce(i.purchase_date, '-infinity') <= :purchased_until and i.purchase_date is not null)
           and (:foreman_id::uuid is null or i.location_id is null
                or i.location_id = any (array(select location_id from location_foremen where user_id = :foreman_id)))
         limit :most) as counted;

-- name: plan_for_values
-- Makes the planner plan for values until the transaction ends.
select set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: sort_found
with found as materialized (
  select i.id,
         case :sort::text when 'name' then lower(i.name) when 'sku' then lower(coalesce(i.sku, '')) else '' end collate "C" as text_key,
         case :sort when 'quantity' then i.quantity else 0 end as number_key,
         case :sort when 'created_at' then i.created_at when 'updated_at' then i.updated_at else 'epoch' end as time_key,
         case :sort when 'purchase_date' then coalesce(i.purchase_date, '-infinity') else '-infinity' end as day_key
    from item_texts as t
    join items as i on i.id = t.item_id
   where t.text like search_pattern(:first::text) and t.text like search_pattern(:second::text)
     and t.text like all (array(select search_pattern(word) from unnest(:words::text[]) as word))
     and (:category_ids::uuid[] is null or i.category_id = any (:category_ids))
     and (:location_id::uuid is null or i.location_id = :location_id)
     and (:status::text is null or i.status = :status)
     and (:condition::text is null or i.condition = :condition)
     and (:serial_number::text is null or i.serial_number = :serial_number)
     and (:low_stock::boolean is distinct from true or i.quantity < i.min_quantity)
     and (:low_stock is distinct from false or i.quantity >= i.min_quantity)
     and (:updated_since::timestamptz is null or i.updated_at >= :updated_since)
     and (:created_since::timestamptz is null or i.created_at >= :created_since)
     and (:purchased_since::date is null or coalesce(i.purchase_date, '-infinity') >= :purchased_since)
     and (:purchased_until::date is null or coalesce(i.purchase_date, '-infinity') <= :purchased_until and i.purchase_date is not null)
     and (:foreman_id::uuid is null or i.location_id is null
          or i.location_id = any (array(select location_id from location_foremen where user_id = :foreman_id)))
)
select array(select id
               from found
              where :after_id::uuid is null
                 or case when :descending::boolean
                         then (text_key, number_key, time_key, day_key, id)
                              < (lower(:after_text) collate "C", :after_number, :after_time, :after_day, :after_id)
                         else (text_key, number_key, time_key, day_key, id)
                              > (lower(:after_text) collate "C", :after_number, :after_time, :after_day, :after_id) end
              order by case when :descending then text_key end desc, case when :descending then number_key end desc,
                       case when :descending then time_key end desc, case when :descending then day_key end desc,
                       case when :descending then id end desc,
                       text_key, number_key, time_key, day_key, id
             offset :skip limit :limit) as ids;

-- name: sort_listed
-- A page of the items that the filters let through, which are all read.
-- Trap: they are materialized. Otherwise the planner might walk through all items in the wanted
-- order, if it expects the page to fill soon. Of the keys, only the one of the order differs
-- between items.
with found as materialized (
  select i.id,
         case :sort::text when 'name' then lower(i.name) when 'sku' then lower(coalesce(i.sku, '')) else '' end collate "C" as text_key,
         case :sort when 'quantity' then i.quantity else 0 end as number_key,
         case :sort when 'created_at' then i.created_at when 'updated_at' then i.updated_at else 'epoch' end as time_key,
         case :sort when 'purchase_date' then coalesce(i.purchase_date, '-infinity') else '-infinity' end as day_key
    from items as i
   where (:category_ids::uuid[] is null or i.category_id = any (:category_ids))
     and (:location_id::uuid is null or i.location_id = :location_id)
     and (:status::text is null or i.status = :status)
     and (:condition::text is null or i.condition = :condition)
     and (:serial_number::text is null or i.serial_number = :serial_number)
     and (:low_stock::boolean is distinct from true or i.quantity < i.min_quantity)
     and (:low_stock is distinct from false or i.quantity >= i.min_quantity)
     and (:updated_since::timestamptz is null or i.updated_at >= :updated_since)
     and (:created_since::timestamptz is null or i.created_at >= :created_since)
     and (:purchased_since::date is null or coalesce(i.purchase_date, '-infinity') >= :purchased_since)
     and (:purchased_until::date is null or coalesce(i.purchase_date, '-infinity') <= :purchased_until and i.purchase_date is not null)
     and (:foreman_id::uuid is null or i.location_id is null
          or i.location_id = any (array(select location_id from location_foremen where user_id = :foreman_id)))
)
select array(select id
               from found
              where :after_id::uuid is null
                 or case when :descending::boolean
                         then (text_key, number_key, time_key, day_key, id)
                              < (lower(:after_text) collate "C", :after_number, :after_time, :after_day, :after_id)
                         else (text_key, number_key, time_key, day_key, id)
                              > (lower(:after_text) collate "C", :after_number, :after_time, :after_day, :after_id) end
              order by case when :descending then text_key end desc, case when :descending then number_key end desc,
                       case when :descending then time_key end desc, case when :descending then day_key end desc,
                       case when :descending then id end desc,
                       text_key, number_key, time_key, day_key, id
             offset :skip limit :limit) as ids;

-- name: walk
-- Walks through at most `most` items in the wanted order, after the first `passed`, and returns a
-- page of those that the filters let through. `examined` is how many items it walked through. If
-- that is fewer than `most`, no more follow. One branch runs, and the planner prunes the others.
with walked as (
  (select id, row_number() over (order by id) as place
     from items
    where :sort::text = 'id' and (:after_id::uuid is null or id > :after_id)
    order by id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by lower(name) collate "C", id) as place
     from items
    where :sort = 'name' and not :descending::boolean and (:after_id is null or (lower(name) collate "C", id) > (lower(:after_text::text) collate "C", :after_id))
    order by lower(name) collate "C", id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by lower(name) collate "C" desc, id desc) as place
     from items
    where :sort = 'name' and :descending and (:after_id is null or (lower(name) collate "C", id) < (lower(:after_text::text) collate "C", :after_id))
    order by lower(name) collate "C" desc, id desc
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by lower(coalesce(sku, '')) collate "C", id) as place
     from items
    where :sort = 'sku' and not :descending and (:after_id is null or (lower(coalesce(sku, '')) collate "C", id) > (lower(:after_text) collate "C", :after_id))
    order by lower(coalesce(sku, '')) collate "C", id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by lower(coalesce(sku, '')) collate "C" desc, id desc) as place
     from items
    where :sort = 'sku' and :descending and (:after_id is null or (lower(coalesce(sku, '')) collate "C", id) < (lower(:after_text) collate "C", :after_id))
    order by lower(coalesce(sku, '')) collate "C" desc, id desc
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by quantity, id) as place
     from items
    where :sort = 'quantity' and not :descending and (:after_id is null or (quantity, id) > (:after_number::integer, :after_id))
    order by quantity, id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by quantity desc, id desc) as place
     from items
    where :sort = 'quantity' and :descending and (:after_id is null or (quantity, id) < (:after_number::integer, :after_id))
    order by quantity desc, id desc
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by created_at, id) as place
     from items
    where :sort = 'created_at' and not :descending and (:after_id is null or (created_at, id) > (:after_time::timestamptz, :after_id))
    order by created_at, id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by created_at desc, id desc) as place
     from items
    where :sort = 'created_at' and :descending and (:after_id is null or (created_at, id) < (:after_time::timestamptz, :after_id))
    order by created_at desc, id desc
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by updated_at, id) as place
     from items
    where :sort = 'updated_at' and not :descending and (:after_id is null or (updated_at, id) > (:after_time, :after_id))
    order by updated_at, id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by updated_at desc, id desc) as place
     from items
    where :sort = 'updated_at' and :descending and (:after_id is null or (updated_at, id) < (:after_time, :after_id))
    order by updated_at desc, id desc
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by coalesce(purchase_date, '-infinity'), id) as place
     from items
    where :sort = 'purchase_date' and not :descending and (:after_id is null or (coalesce(purchase_date, '-infinity'), id) > (:after_day::date, :after_id))
    order by coalesce(purchase_date, '-infinity'), id
   offset :passed limit :most)
  union all
  (select id, row_number() over (order by coalesce(purchase_date, '-infinity') desc, id desc) as place
     from items
    where :sort = 'purchase_date' and :descending and (:after_id is null or (coalesce(purchase_date, '-infinity'), id) < (:after_day::date, :after_id))
    order by coalesce(purchase_date, '-infinity') desc, id desc
   offset :passed limit :most)
)
select (select count(*) from walked) as examined,
       (select id from walked order by place desc limit 1) as last,
       array(select i.id
               from walked
               join items as i using (id)
              where (:category_ids::uuid[] is null or i.category_id = any (:category_ids))
                and (:location_id::uuid is null or i.location_id = :location_id)
                and (:status::text is null or i.status = :status)
                and (:condition::text is null or i.condition = :condition)
                and (:serial_number::text is null or i.serial_number = :serial_number)
                and (:low_stock::boolean is distinct from true or i.quantity < i.min_quantity)
                and (:low_stock is distinct from false or i.quantity >= i.min_quantity)
                and (:updated_since::timestamptz is null or i.updated_at >= :updated_since)
                and (:created_since::timestamptz is null or i.created_at >= :created_since)
                and (:purchased_since::date is null or coalesce(i.purchase_date, '-infinity') >= :purchased_since)
                and (:purchased_until::date is null or coalesce(i.purchase_date, '-infinity') <= :purchased_until and i.purchase_date is not null)
                and (:foreman_id::uuid is null or i.location_id is null
                     or i.location_id = any (array(select location_id from location_foremen where user_id = :foreman_id)))
                and (:first::text is null
                     or exists (select from item_texts as t
                                 where t.item_id = i.id
                                   and t.text like all (array(select search_pattern(word) from unnest(:words::text[]) as word))))
              order by walked.place
             offset :skip limit :limit) as ids;
