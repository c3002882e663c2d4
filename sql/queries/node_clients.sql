-- name: names
-- The names of categories and locations.
select id, name from categories where id = any (:ids::uuid[])
union all
select id, name from locations where id = any (:ids::uuid[]);
