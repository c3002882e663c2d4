-- name: try_lock
select pg_try_advisory_lock(:class_id::int, :object_id::int);

-- name: unlock
select pg_advisory_unlock(:class_id::int, :object_id::int);

-- name: create_table
create table if not exists public.schema_migrations (
  version    integer     not null primary key,
  name       text        not null,
  checksum   text        not null,
  applied_at timestamptz not null default now()
);

-- name: table_columns
-- No rows if there is no such table. Other programs have a table of this name, too.
select attname::text as name, format_type(atttypid, null) as type from pg_attribute
 where attrelid = to_regclass('public.schema_migrations') and attnum > 0 and not attisdropped
 order by attnum;

-- name: applied
select version, checksum from public.schema_migrations order by version;

-- name: prepare
-- Settings for the rest of the transaction, whatever the session has. A migration takes as long as
-- it takes. New tables go to the first schema. The operator classes of pg_trgm may be in another
-- one.
select set_config('lock_timeout', :milliseconds::int::text, true),
       set_config('statement_timeout', '0', true),
       set_config('search_path', concat_ws(', ', 'public', (select extnamespace::regnamespace::text from pg_extension
                                                             where extname = 'pg_trgm'), 'pg_temp'), true);

-- name: record
insert into public.schema_migrations (version, name, checksum) values (:version, :name, :checksum);

-- name: defined
-- Functions and views, with the checksum of the text that was applied last. If one was dropped
-- since, by a migration for example, it counts as never applied.
select name, checksum
  from public.schema_definitions
 where to_regclass('public.' || quote_ident(name)) is not null
    or exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = name);

-- name: undefined
-- Those of these functions and views that do not exist.
select wanted.name
  from unnest(:names::text[]) as wanted (name)
 where to_regclass('public.' || quote_ident(wanted.name)) is null
   and not exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = wanted.name)
 order by 1;

-- name: record_definition
insert into public.schema_definitions (name, checksum) values (:name, :checksum)
    on conflict (name) do update set checksum = excluded.checksum, applied_at = excluded.applied_at;
