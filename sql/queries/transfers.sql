-- name: count_visible
-- The user `own_id` sees the transfers that this user requested. The foreman `foreman_id` also sees
-- those from or to a location assigned to this foreman. If both are null, all are seen. Trap: the
-- condition `foreman_id is not null` looks needless. With it, if `foreman_id` is null, the planner
-- looks up the user's own transfers by an index instead of searching for them.
select count(*)
  from (select
          from transfers
         where (:status::text is null or status = :status)
           and (:item_id::uuid is null or item_id = :item_id)
           and (:location_id::uuid is null or :location_id in (from_location_id, to_location_id))
           and (:own_id::uuid is null or requested_by = :own_id
                or (:foreman_id::uuid is not null
                    and exists (select from location_foremen as assigned
                                 where assigned.user_id = :foreman_id::uuid
                                   and assigned.location_id in (from_location_id, to_location_id))))
         limit :most::bigint) as counted;

-- name: list_visible
-- By id, so that a transfer that is requested meanwhile comes last and does not shift a page.
select id, item_id, from_location_id, to_location_id, quantity, reason, status, requested_by, approved_by, approved_at,
       rejected_by, rejected_at, rejection_reason, dispatched_by, dispatched_at, completed_by, completed_at, cancelled_by,
       cancelled_at, to_item_id, created_at, updated_at
  from transfers
 where (:status::text is null or status = :status)
   and (:item_id::uuid is null or item_id = :item_id)
   and (:location_id::uuid is null or :location_id in (from_location_id, to_location_id))
   and (:own_id::uuid is null or requested_by = :own_id
        or (:foreman_id::uuid is not null
            and exists (select from location_foremen as assigned
                         where assigned.user_id = :foreman_id::uuid
                           and assigned.location_id in (from_location_id, to_location_id))))
   and id > :after
 order by id
offset :skip limit :limit;

-- name: get
select id, item_id, from_location_id, to_location_id, quantity, reason, status, requested_by, approved_by, approved_at,
       rejected_by, rejected_at, rejection_reason, dispatched_by, dispatched_at, completed_by, completed_at, cancelled_by,
       cancelled_at, to_item_id, created_at, updated_at,
       exists (select from location_foremen as assigned
                where assigned.user_id = :user_id and assigned.location_id in (from_location_id, to_location_id)) as assigned
  from transfers
 where id = :id;

-- name: get_to_change
select id, item_id, from_location_id, to_location_id, quantity, reason, status, requested_by, approved_by, approved_at,
       rejected_by, rejected_at, rejection_reason, dispatched_by, dispatched_at, completed_by, completed_at, cancelled_by,
       cancelled_at, to_item_id, created_at, updated_at, xmin as version
  from transfers
 where id = :id;

-- name: lock
select from transfers where id = :id for update;

-- name: insert
with stored as (
  insert into transfers (id, item_id, from_location_id, to_location_id, quantity, reason, requested_by, created_at, updated_at)
  values (:id, :item_id, :from_location_id, :to_location_id, :quantity, :reason, :requested_by, :created_at, :created_at)
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: step
-- The old state is kept in came_from. So the table itself refuses a step that the state machine
-- does not have.
with stored as (
  update transfers
     set came_from = status, status = :status,
         approved_by = :approved_by, approved_at = :approved_at,
         rejected_by = :rejected_by, rejected_at = :rejected_at, rejection_reason = :rejection_reason,
         dispatched_by = :dispatched_by, dispatched_at = :dispatched_at,
         completed_by = :completed_by, completed_at = :completed_at, to_item_id = :to_item_id,
         cancelled_by = :cancelled_by, cancelled_at = :cancelled_at,
         updated_at = :updated_at
   where id = :id and xmin = :version
  returning id
)
select record_mutation(:events, :audits, :author) from stored;

-- name: keep_locations
-- Which of the two locations exist. They are locked, so that neither is deleted before a transfer
-- between them has been stored.
select id from locations where id = any (:ids::uuid[]) order by id for key share;

-- name: is_foreman
select exists (select from location_foremen where location_id = :location_id and user_id = :user_id);
