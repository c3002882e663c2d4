-- From here on, functions and views are not in migrations but in sql/functions and sql/views, one
-- live text each (docs/adr/0027). `jossiedb migrate` applies a text whose checksum is not recorded
-- here.
create table public.schema_definitions (
  name       text        collate "C" not null primary key,
  checksum   text        not null,
  applied_at timestamptz not null default now()
);
