-- name: count_visible
-- A foreman sees the assigned locations. `foreman_id` is null for all other users.
select count(*)
  from (select
          from locations
         where :foreman_id::uuid is null
            or exists (select from location_foremen as assigned
                        where assigned.location_id = locations.id and assigned.user_id = :foreman_id)
         limit :most::bigint) as counted;

-- name: list_visible
select id, name, description, address, created_at, updated_at,
       array(select user_id from location_foremen where location_id = locations.id order by user_id) as foremen
  from locations
 where (:foreman_id::uuid is null
        or exists (select from location_foremen as assigned
                    where assigned.location_id = locations.id and assigned.user_id = :foreman_id))
   and id > :after
 order by id
offset :skip limit :limit;

-- name: get
select id, name, description, address, created_at, updated_at,
       array(select user_id from location_foremen where location_id = locations.id order by user_id) as foremen,
       xmin as version
  from locations
 where id = :id;

-- name: lock
select from locations where id = :id for update;

-- name: find
-- The location of this name, in upper or lower case.
select id from locations where lower(name) collate "C" = lower(:name);

-- name: insert
with stored as (
  insert into locations (id, name, description, address, created_at, updated_at)
  values (:id, :name, :description, :address, :created_at, :created_at)
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: update
with stored as (
  update locations
     set name = :name, description = :description, address = :address, updated_at = :updated_at
   where id = :id and xmin = :version
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: has_items
select exists (select from items where location_id = :id);

-- name: has_open_transfers
select exists (select from transfers
                where status in ('pending', 'approved', 'in_transit')
                  and (from_location_id = :id or to_location_id = :id));

-- name: has_open_checkouts
select exists (select from checkouts where open_destination_id = :id);

-- name: delete
with gone as (
  delete from locations where id = :id and xmin = :version returning id
)
select record_mutation(:events, :audits, :author) from gone;

-- name: lock_roles
-- Locks the users, so that none is assigned whose role is just being changed.
select id, role from users where id = any (:ids::uuid[]) order by id for share;

-- name: add_foremen
with stored as (
  update locations set updated_at = :updated_at where id = :id and xmin = :version returning id
),
assigned as (
  insert into location_foremen (location_id, user_id)
  select stored.id, added.user_id from stored cross join unnest(:user_ids::uuid[]) as added (user_id)
      on conflict do nothing
)
select record_mutation(:events, :audits, :author) from stored;

-- name: remove_foreman
with stored as (
  update locations set updated_at = :updated_at where id = :id and xmin = :version returning id
),
unassigned as (
  delete from location_foremen where location_id = (select id from stored) and user_id = :user_id
)
select record_mutation(:events, :audits, :author) from stored;
