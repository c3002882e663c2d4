-- Checkouts: who has how many units of an item out, and what came back of them when.

-- No foreign key but for what is open: one that has ended outlives its item, its destination and its user.
create table checkouts (
  id                      uuid        not null default uuidv7() primary key,
  item_id                 uuid        not null,
  user_id                 uuid        not null,
  quantity                integer     not null check (quantity > 0),
  returned_quantity       integer     not null default 0,
  status                  text        not null,
  -- The state before this one.
  came_from               text,
  expected_return_date    date,
  destination_location_id uuid,
  project_id              text        check (char_length(project_id) between 1 and 255),
  notes                   text        check (char_length(notes) <= 8000),
  authorized_by           uuid,
  authorized_at           timestamptz,
  rejected_by             uuid,
  rejected_at             timestamptz,
  cancelled_by            uuid,
  cancelled_at            timestamptz,
  -- Who brought the last unit back, and when.
  returned_by             uuid,
  returned_at             timestamptz,
  created_at              timestamptz not null default now(),
  updated_at              timestamptz not null default now(),
  -- These keep the item, the user and the destination of an open one. Not `on delete restrict`, whose error is another from 18 on.
  open_item_id            uuid        generated always as (
                            case when status in ('pending_authorization', 'active') then item_id end) stored
                            references items,
  open_user_id            uuid        generated always as (
                            case when status in ('pending_authorization', 'active') then user_id end) stored
                            references users,
  open_destination_id     uuid        generated always as (
                            case when status in ('pending_authorization', 'active') then destination_location_id end) stored
                            references locations,
  -- The state machine. An update sets came_from to the status that it replaces; active follows active when a part comes back.
  constraint checkouts_edge_check check (
    case when came_from is null then status in ('pending_authorization', 'active')
         when came_from = 'pending_authorization' then status in ('active', 'rejected', 'cancelled')
         when came_from = 'active' then status in ('active', 'returned')
         else false
    end),
  -- What each state means: only what was authorised was ever taken off the stock, and it is over when all of it is back.
  constraint checkouts_steps_check check (
    num_nulls(authorized_by, authorized_at) <> 1
    and num_nulls(rejected_by, rejected_at) <> 1
    and num_nulls(cancelled_by, cancelled_at) <> 1
    and num_nulls(returned_by, returned_at) <> 1
    and (authorized_at is not null) = (status in ('active', 'returned'))
    and (rejected_at is not null) = (status = 'rejected')
    and (cancelled_at is not null) = (status = 'cancelled')
    and (returned_at is not null) = (status = 'returned')
    and case status when 'returned' then returned_quantity = quantity
                    when 'active' then returned_quantity between 0 and quantity - 1
                    else returned_quantity = 0 end
    and (came_from is not distinct from 'active') = (returned_quantity > 0))
);
create index checkouts_item_id on checkouts (item_id, id);
create index checkouts_user_id on checkouts (user_id, id);
create index checkouts_status on checkouts (status, id);
create index checkouts_open_item_id on checkouts (open_item_id) where open_item_id is not null;
create index checkouts_open_user_id on checkouts (open_user_id) where open_user_id is not null;
create index checkouts_open_destination_id on checkouts (open_destination_id) where open_destination_id is not null;
create index checkouts_due on checkouts (expected_return_date, id)
  where status = 'active' and expected_return_date is not null;

-- Each part that came back, and into which item: another one than was taken out of, where it came back to another location.
create table checkout_returns (
  id          uuid        not null default uuidv7() primary key,
  checkout_id uuid        not null references checkouts on delete cascade,
  quantity    integer     not null check (quantity > 0),
  returned_by uuid        not null,
  item_id     uuid        not null,
  location_id uuid,
  notes       text        check (char_length(notes) <= 8000),
  returned_at timestamptz not null default clock_timestamp()
);
create index checkout_returns_checkout_id on checkout_returns (checkout_id, returned_at);
