-- Trigger on webhooks: lists a webhook under its event types and its most selective filter. As a
-- trigger, it keeps the lists right for every writer, psql included.
create or replace function public.derive_subscriptions() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
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
