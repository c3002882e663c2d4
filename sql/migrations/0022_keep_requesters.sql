-- Who requested a transfer is there as long as it is open, as it is with checkouts. Transfers whose user was removed before this are
-- left as they are: the constraint is for what is written from now on.

alter table transfers
  add column open_requested_by uuid generated always as (
    case when status in ('pending', 'approved', 'in_transit') then requested_by end) stored;
alter table transfers
  add constraint transfers_open_requested_by_fkey foreign key (open_requested_by) references users not valid;
create index transfers_open_requested_by on transfers (open_requested_by) where open_requested_by is not null;
