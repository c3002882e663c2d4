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
       array(select user_id from location_foremen where location_id = locations.id order by user_id) as foremen
  from locations
 where id = :id;

-- name: lock
select from locations where id = :id for update;

-- name: find
-- The location of this name, in upper or lower case.
select id from locations where lower(name) collate "C" = lower(:name);

-- name: insert
-- Returns no row if the name is taken.
insert into locations (id, name, description, address)
values (:id, :name, :description, :address)
    on conflict (lower(name) collate "C") do nothing
returning id;

-- name: update
update locations
   set name = :name, description = :description, address = :address, updated_at = clock_timestamp()
 where id = :id;

-- name: touch
update locations set updated_at = clock_timestamp() where id = :id;

-- name: has_items
select exists (select from items where location_id = :id);

-- name: has_open_transfers
select exists (select from transfers
                where status in ('pending', 'approved', 'in_transit')
                  and (from_location_id = :id or to_location_id = :id));

-- name: has_open_checkouts
select exists (select from checkouts where open_destination_id = :id);

-- name: delete
delete from locations where id = :id;

-- name: lock_roles
-- Locks the users, so that none is assigned whose role is just being changed.
select id, role from users where id = any (:ids::uuid[]) order by id for share;

-- name: add_foremen
insert into location_foremen (location_id, user_id)
select :id, user_id from unnest(:user_ids::uuid[]) as added (user_id)
    on conflict do nothing;

-- name: remove_foreman
delete from location_foremen where location_id = :id and user_id = :user_id;
