-- name: count_all
select count(*)
  from (select
          from categories
         limit :most::bigint) as counted;

-- name: list_all
select id, name, description, parent_id, created_at, updated_at
  from categories
 where id > :after
 order by id
offset :skip limit :limit;

-- name: tree
select id, name, description, parent_id, created_at, updated_at from categories order by lower(name), id;

-- name: get
select id, name, description, parent_id, created_at, updated_at, xmin as version from categories where id = :id;

-- name: lock_tree
-- Two changes of parents at once could close a circle that neither of them sees. Reads go on, and
-- so do writes of items that name a category.
lock table categories in share row exclusive mode;

-- name: lock
select from categories where id = :id for update;

-- name: with_ancestors
with recursive line (id) as (
  select :id::uuid
   union
  select parent_id from categories join line using (id) where parent_id is not null
)
select id from line;

-- name: levels
-- How many levels a category has, with those below it, counted up to `most`.
with recursive tree (id, level) as (
  select :id::uuid, 1
   union all
  select c.id, tree.level + 1 from categories as c join tree on c.parent_id = tree.id where tree.level < :most::integer
)
select max(level) from tree;

-- name: insert
with stored as (
  insert into categories (id, name, description, parent_id, created_at, updated_at)
  values (:id, :name, :description, :parent_id, :created_at, :created_at)
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: update
with stored as (
  update categories
     set name = :name, description = :description, parent_id = :parent_id, updated_at = :updated_at
   where id = :id and xmin = :version
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: is_used
select exists (select from items where category_id = :id) as by_items,
       exists (select from categories where parent_id = :id) as by_categories;

-- name: delete
with gone as (
  delete from categories where id = :id and xmin = :version returning id
)
select record_mutation(:events, :audits, :author) from gone;

-- name: with_descendants
with recursive tree (id) as (
  select :id::uuid
   union
  select c.id from categories as c join tree on c.parent_id = tree.id
)
select id from tree;
