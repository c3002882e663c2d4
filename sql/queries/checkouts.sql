-- name: count_visible
-- If `own_id` is null, all checkouts. Otherwise those that this user holds or has asked for. A
-- foreman also sees those of items at the locations assigned to this foreman, and those that go
-- there. Overdue is not a status: it means active, and the day of the expected return (in UTC) is
-- over.
select count(*)
  from (select
          from checkouts as c
         where (:item_id::uuid is null or c.item_id = :item_id)
           and (:user_id::uuid is null or c.user_id = :user_id)
           and (:status::text is null or c.status = :status)
           and (:overdue::boolean is distinct from true
                or (c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date))
           and (:overdue is distinct from false
                or not coalesce(c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date, false))
           and (:own_id::uuid is null or c.user_id = :own_id or (c.requested_by = :own_id and c.requested_by <> c.user_id)
                or (:foreman_id::uuid is not null
                    and exists (select from location_foremen as assigned
                                 where assigned.user_id = :foreman_id::uuid
                                   and assigned.location_id in ((select location_id from items where id = c.item_id),
                                                                c.destination_location_id))))
         limit :most::bigint) as counted;

-- name: list_visible
-- By id, so that a checkout that is made meanwhile comes last and does not shift a page.
select c.id, c.item_id, c.user_id, coalesce(c.requested_by, c.user_id) as requested_by, c.quantity, c.returned_quantity, c.status,
       c.expected_return_date, c.destination_location_id, c.project_id, c.notes, c.authorized_by, c.authorized_at, c.rejected_by,
       c.rejected_at, c.cancelled_by, c.cancelled_at, c.returned_by, c.returned_at, c.created_at, c.updated_at,
       coalesce(c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date, false) as overdue,
       coalesce((select json_agg(json_build_object(
                          'quantity', r.quantity, 'returned_by', r.returned_by, 'item_id', r.item_id,
                          'location_id', r.location_id, 'notes', r.notes,
                          'returned_at', to_char(r.returned_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
                        order by r.returned_at, r.id)
                   from checkout_returns as r
                  where r.checkout_id = c.id), '[]')::text as returns,
       array(select assigned.user_id
               from location_foremen as assigned
              where assigned.location_id in ((select location_id from items where id = c.item_id), c.destination_location_id)
            ) as foremen
  from (select *
          from checkouts as c
         where (:item_id::uuid is null or c.item_id = :item_id)
           and (:user_id::uuid is null or c.user_id = :user_id)
           and (:status::text is null or c.status = :status)
           and (:overdue::boolean is distinct from true
                or (c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date))
           and (:overdue is distinct from false
                or not coalesce(c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date, false))
           and (:own_id::uuid is null or c.user_id = :own_id
                or (c.requested_by = :own_id and c.requested_by <> c.user_id)
                or (:foreman_id::uuid is not null
                    and exists (select from location_foremen as assigned
                                 where assigned.user_id = :foreman_id::uuid
                                   and assigned.location_id in ((select location_id from items where id = c.item_id),
                                                                c.destination_location_id))))
           and c.id > :after
         order by c.id
        offset :skip limit :limit) as c
 order by c.id;

-- name: get
select c.id, c.item_id, c.user_id, coalesce(c.requested_by, c.user_id) as requested_by, c.quantity, c.returned_quantity, c.status,
       c.expected_return_date, c.destination_location_id, c.project_id, c.notes, c.authorized_by, c.authorized_at, c.rejected_by,
       c.rejected_at, c.cancelled_by, c.cancelled_at, c.returned_by, c.returned_at, c.created_at, c.updated_at,
       coalesce(c.status = 'active' and c.expected_return_date < (now() at time zone 'UTC')::date, false) as overdue,
       coalesce((select json_agg(json_build_object(
                          'quantity', r.quantity, 'returned_by', r.returned_by, 'item_id', r.item_id,
                          'location_id', r.location_id, 'notes', r.notes,
                          'returned_at', to_char(r.returned_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
                        order by r.returned_at, r.id)
                   from checkout_returns as r
                  where r.checkout_id = c.id), '[]')::text as returns,
       array(select assigned.user_id
               from location_foremen as assigned
              where assigned.location_id in ((select location_id from items where id = c.item_id), c.destination_location_id)
            ) as foremen
  from checkouts as c
 where c.id = :id;

-- name: lock
select from checkouts where id = :id for update;

-- name: insert
insert into checkouts (id, item_id, user_id, requested_by, quantity, status, expected_return_date, destination_location_id,
                       project_id, notes, authorized_by, authorized_at)
values (:id, :item_id, :user_id, :requested_by, :quantity, :status, :expected_return_date, :destination_location_id,
        :project_id, :notes, :authorized_by::uuid, case when :authorized_by is not null then clock_timestamp() end);

-- name: authorize
update checkouts
   set status = 'active', came_from = status, authorized_by = :by, authorized_at = clock_timestamp(),
       updated_at = clock_timestamp()
 where id = :id;

-- name: reject
update checkouts
   set status = 'rejected', came_from = status, rejected_by = :by, rejected_at = clock_timestamp(),
       updated_at = clock_timestamp()
 where id = :id;

-- name: cancel
update checkouts
   set status = 'cancelled', came_from = status, cancelled_by = :by, cancelled_at = clock_timestamp(),
       updated_at = clock_timestamp()
 where id = :id;

-- name: check_in
-- Units may come back in parts. The last part ends the checkout.
with part as (
  insert into checkout_returns (checkout_id, quantity, returned_by, item_id, location_id, notes)
  values (:id, :quantity::integer, :by::uuid, :item_id, :location_id, :notes)
)
update checkouts
   set status = case when returned_quantity + :quantity = quantity then 'returned' else status end, came_from = status,
       returned_quantity = returned_quantity + :quantity,
       returned_by = case when returned_quantity + :quantity = quantity then :by end,
       returned_at = case when returned_quantity + :quantity = quantity then clock_timestamp() end,
       updated_at = clock_timestamp()
 where id = :id;

-- name: any_out
select exists (select from checkouts where item_id = :item_id and status = 'active');

-- name: is_readable
-- Whether a foreman may read things at this location: it is assigned to the foreman, or there is
-- none.
select :location_id::uuid is null
       or exists (select from location_foremen where location_id = :location_id and user_id = :foreman_id);
