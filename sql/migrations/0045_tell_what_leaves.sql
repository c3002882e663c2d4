-- A location filter may also let through what leaves its locations, as a mirror of one place needs.
--
-- An event of an item that moved concerns the place where the item is now. Beside it, its location_ids hold the departure of the
-- place before: an id made from that place's. A webhook that asks for it is held against departures, too, so that fan-out looks for
-- both in one way, and a departure gives nobody the right to read.

-- service/platform/subject.py makes the same. Version 8 of RFC 9562, which no location has.
create function departure(location_id uuid) returns uuid
language sql immutable strict parallel safe
return overlay(overlay(left(encode(sha256(convert_to('leaves ' || location_id::text, 'UTF8')), 'hex'), 32)
                       placing '8' from 13) placing '8' from 17)::uuid;

create function departures(location_ids uuid[]) returns uuid[]
language sql immutable strict parallel safe
return array(select departure(id) from unnest(location_ids) as location (id));

-- location_keys: what the location_ids of an event are held against. Stored, so that matching costs the same with and without.
alter table webhooks
  add column filter_leaving boolean not null default false,
  add column location_keys  uuid[]  not null generated always as (
    case when filter_leaving then filter_locations || departures(filter_locations) else filter_locations end) stored;

create or replace function derive_subscriptions() returns trigger
language plpgsql
as $$
begin
  delete from subscriptions where webhook_id = new.id;
  if new.active and new.deleted_at is null then
    insert into subscriptions (event_type, kind, key, webhook_id)
    select distinct type.name, filter.kind, filter.key, new.id
      from unnest(new.events) as type (name)
     cross join (
       select 'location' as kind, key from unnest(new.location_keys) as location (key)
       union all
       select 'category', key from unnest(new.filter_categories) as category (key)
        where new.filter_locations = '{}'
       union all
       select 'any', '00000000-0000-0000-0000-000000000000'::uuid
        where new.filter_locations = '{}' and new.filter_categories = '{}'
     ) as filter;
  end if;
  return null;
end
$$;

drop trigger webhooks_derive_subscriptions on webhooks;
create trigger webhooks_derive_subscriptions
  after insert or update of events, filter_locations, filter_categories, filter_leaving, active, deleted_at on webhooks
  for each row execute function derive_subscriptions();

create or replace function webhook_wants(
  webhook webhooks, owner_role text, event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
  stock bigint
) returns boolean
language sql stable parallel safe
as $$
  select event_type = any (webhook.events)
     and (webhook.filter_locations = '{}' or location_ids = '{}' or location_ids && webhook.location_keys)
     and (webhook.filter_categories = '{}' or category_id is null or category_id = any (webhook.filter_categories))
     and (webhook.min_stock_threshold is null or event_type <> 'low-stock-alert' or stock < webhook.min_stock_threshold)
     and (owner_role = 'admin' or (audience = 'inventory' and owner_role <> 'foreman')
          or may_read(owner_role, webhook.owner_id, audience, location_ids, user_ids))
$$;
