-- A checkout's user holds the units; who asked for them may be somebody else. Null: the user asked, as all did before this.

alter table checkouts
  add column requested_by      uuid,
  add column open_requested_by uuid generated always as (
    case when status in ('pending_authorization', 'active') then requested_by end) stored
    references users;
create index checkouts_open_requested_by on checkouts (open_requested_by) where open_requested_by is not null;
-- What somebody asked for on behalf of others.
create index checkouts_handed_out on checkouts (requested_by, id) where requested_by <> user_id;
