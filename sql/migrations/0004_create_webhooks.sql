-- Webhooks, and the index that fan-out matches events by.

create table webhooks (
  id                  uuid        not null default uuidv7() primary key,
  owner_id            uuid        not null references users on delete cascade,
  url                 text        not null check (char_length(url) between 1 and 2048),
  events              text[]      not null check (cardinality(events) > 0),
  active              boolean     not null default true,
  filter_locations    uuid[]      not null default '{}',
  filter_categories   uuid[]      not null default '{}',
  min_stock_threshold integer     check (min_stock_threshold > 0),
  -- AES-256-GCM, the webhook's id as associated data; headers_sealed holds a JSON object of name and value.
  secret_sealed       bytea       not null,
  headers_sealed      bytea,
  max_retries         integer     not null check (max_retries between 0 and 20),
  retry_delay_ms      integer     not null check (retry_delay_ms between 100 and 60000),
  timeout_ms          integer     not null check (timeout_ms between 5000 and 60000),
  -- Raised by every change, so that a relay knows when what it keeps in memory is old.
  version             bigint      not null default 1,
  -- Deliveries of events up to this position are no longer owed; the relay ends them as cancelled, in batches.
  discard_through     bigint      not null default 0,
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now(),
  deleted_at          timestamptz
);
create index webhooks_owner_id on webhooks (owner_id, id);
create index webhooks_discarding on webhooks (id) where discard_through > 0;

-- One row for each type and each value of the webhook's most selective filter. kind 'any': no such filter (key is the nil
-- uuid). What else the webhook filters on is checked on the few rows that this finds.
create table subscriptions (
  event_type text not null,
  kind       text not null check (kind in ('any', 'location', 'category')),
  key        uuid not null,
  webhook_id uuid not null references webhooks on delete cascade,
  primary key (event_type, kind, key, webhook_id)
);
create index subscriptions_webhook_id on subscriptions (webhook_id);

-- Kept by a trigger so that it is right whoever writes to webhooks, psql included.
create function derive_subscriptions() returns trigger
language plpgsql
as $$
begin
  delete from subscriptions where webhook_id = new.id;
  if new.active and new.deleted_at is null then
    insert into subscriptions (event_type, kind, key, webhook_id)
    select distinct type.name, filter.kind, filter.key, new.id
      from unnest(new.events) as type (name)
     cross join (
       select 'location' as kind, key from unnest(new.filter_locations) as location (key)
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

create trigger webhooks_derive_subscriptions
  after insert or update of events, filter_locations, filter_categories, active, deleted_at on webhooks
  for each row execute function derive_subscriptions();
