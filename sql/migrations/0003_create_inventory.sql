-- Locations, categories and items.

create table locations (
  id          uuid        not null default uuidv7() primary key,
  name        text        not null check (char_length(name) between 1 and 255),
  description text,
  address     text,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now()
);
create unique index locations_name_key on locations (lower(name));

create table location_foremen (
  location_id uuid not null references locations on delete cascade,
  user_id     uuid not null references users on delete cascade,
  primary key (location_id, user_id)
);
create index location_foremen_user_id on location_foremen (user_id);

create table categories (
  id          uuid        not null default uuidv7() primary key,
  name        text        not null check (char_length(name) between 1 and 255),
  description text,
  parent_id   uuid        references categories on delete restrict,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  check (parent_id <> id)
);
create unique index categories_name_key on categories (parent_id, lower(name)) nulls not distinct;

create table items (
  id                uuid        not null default uuidv7() primary key,
  name              text        not null check (char_length(name) between 1 and 255),
  sku               text        check (char_length(sku) between 1 and 100),
  serial_number     text        check (char_length(serial_number) between 1 and 100),
  description       text        check (char_length(description) <= 8000),
  quantity          integer     not null default 0 check (quantity >= 0),
  reserved_quantity integer     not null default 0 check (reserved_quantity >= 0),
  min_quantity      integer     not null default 5 check (min_quantity >= 0),
  condition         text        not null default 'good'
                                check (condition in ('new', 'excellent', 'good', 'fair', 'poor', 'damaged')),
  status            text        not null default 'available'
                                check (status in ('available', 'checked_out', 'maintenance', 'retired', 'lost')),
  purchase_date     date,
  category_id       uuid        references categories on delete restrict,
  location_id       uuid        references locations on delete restrict,
  -- json, not jsonb: it comes back as it was sent.
  attributes        json        not null default '{}' check (json_typeof(attributes) = 'object'),
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  check (reserved_quantity <= quantity),
  check (serial_number is null or quantity <= 1)
);
create unique index items_sku_key on items (location_id, sku) nulls not distinct where sku is not null;
create unique index items_serial_number_key on items (serial_number) where serial_number is not null;
create index items_category_id on items (category_id);
create index items_location_id on items (location_id);
