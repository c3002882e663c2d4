-- name: count_users
select count(*)
  from (select
          from users
         where (:role::text is null or role = :role)
           and (:status::text is null or status = :status)
           and (:pattern::text is null or lower(username collate "C") like lower(:pattern collate "C")
                or lower(email collate "C") like lower(:pattern collate "C") or lower(full_name) like lower(:pattern))
         limit :most::bigint) as counted;

-- name: list_users
-- By id, so that a user who is added meanwhile comes last and does not shift a page.
select id, username, email, full_name, role, status, created_at, updated_at
  from users
 where (:role::text is null or role = :role)
   and (:status::text is null or status = :status)
   and (:pattern::text is null or lower(username collate "C") like lower(:pattern collate "C")
        or lower(email collate "C") like lower(:pattern collate "C") or lower(full_name) like lower(:pattern))
   and id > :after
 order by id
offset :skip limit :limit;

-- name: lock_assigned_locations
-- Always lock locations before users, because the assignment of a foreman locks in that order, too.
select id
  from locations
 where id in (select location_id from location_foremen where user_id = :id)
 order by id
   for update;

-- name: lock_with_admins
-- Locks the user and all active admins, in the order of their ids. If two changes at once would
-- each take away one of the last two admins, the second sees what the first has done.
select id, username, email, full_name, role, status, created_at, updated_at, xmin as version
  from users
 where id = :id or (role = 'admin' and status = 'active')
 order by id
   for no key update;

-- name: get_to_change
select id, username, email, full_name, role, status, created_at, updated_at, xmin as version from users where id = :id;

-- name: lock
select from users where id = :id for no key update;

-- name: update_user
with stored as (
  update users
     set username = :username, email = :email, full_name = :full_name, role = :role, status = :status, updated_at = :updated_at
   where id = :id and xmin = :version
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: delete_user
delete from users where id = :id;

-- name: assignments
-- The locations that the user is a foreman of, each with all of its foremen.
select id, name, array(select user_id from location_foremen where location_id = locations.id order by user_id) as foremen
  from locations
 where id in (select location_id from location_foremen where user_id = :id)
 order by id;

-- name: unassign
-- lock_assigned_locations has locked the locations.
with gone as (
  delete from location_foremen where user_id = :id returning location_id
)
update locations set updated_at = clock_timestamp() from gone where locations.id = gone.location_id;

-- name: wake_lanes
-- Notifies the relays of the user's lanes. While the user was suspended, deliveries were queued and
-- not sent.
select wake_lanes(array(select id from webhooks where owner_id = :owner_id and active and deleted_at is null));
