-- Who or what a name means does not depend on the database's collation, and no unique index is out of order after an upgrade of the
-- C library or of ICU, which sort otherwise now and then. "C" sorts by bytes, and its lower() knows the letters A to Z only.

-- User names are ASCII. Of e-mail addresses only the letters A to Z are compared without regard to case: that is all that a domain
-- can have, and beyond it the mail server decides. A Turkish lower() makes a dotless ı of the I in IRIS.
do $$
declare
  same text;
begin
  select string_agg(username, ', ' order by username collate "C") into same
    from users group by lower(username collate "C") having count(*) > 1 limit 1;
  if same is null then
    select string_agg(email, ', ' order by email collate "C") into same
      from users group by lower(email collate "C") having count(*) > 1 limit 1;
  end if;
  if same is not null then
    raise exception 'these users are the same but for upper and lower case: %; rename all but one of them, and migrate again', same;
  end if;
end
$$;
drop index users_username_key;
create unique index users_username_key on users (lower(username collate "C"));
drop index users_email_key;
create unique index users_email_key on users (lower(email collate "C"));

alter table login_failures alter identifier type text collate "C", alter ip_address type text collate "C";

-- Words of ours: lower case, ASCII, and never sorted for people.
alter table subscriptions alter event_type type text collate "C", alter kind type text collate "C";
alter table delivery_counts alter status type text collate "C";

-- Names that people give are in any language, whose rules say what is upper and lower case. Their order in the index is nobody's.
drop index locations_name_key;
create unique index locations_name_key on locations (lower(name) collate "C");
drop index categories_name_key;
create unique index categories_name_key on categories (parent_id, lower(name) collate "C") nulls not distinct;

-- Compared as they are written. The new ones are made first: to drop the others keeps readers waiting.
create unique index items_sku_key_by_bytes on items (location_id, sku collate "C") nulls not distinct where sku is not null;
create unique index items_serial_number_key_by_bytes on items (serial_number collate "C") where serial_number is not null;
create index items_sku_by_bytes on items (sku collate "C") where sku is not null;
create index items_name_by_bytes on items (name collate "C") where sku is null;
drop index items_sku_key, items_serial_number_key, items_sku, items_name;
alter index items_sku_key_by_bytes rename to items_sku_key;
alter index items_serial_number_key_by_bytes rename to items_serial_number_key;
alter index items_sku_by_bytes rename to items_sku;
alter index items_name_by_bytes rename to items_name;
