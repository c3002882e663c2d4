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
-- None if there is no such table. Other programs have one of this name, too.
select attname::text as name, format_type(atttypid, null) as type from pg_attribute
 where attrelid = to_regclass('public.schema_migrations') and attnum > 0 and not attisdropped
 order by attnum;

-- name: applied
select version, checksum from public.schema_migrations order by version;

-- name: prepare
-- For the rest of the transaction, whatever the session has. A migration takes as long as it takes. New tables and functions go to
-- the first schema; the operator classes of pg_trgm may be elsewhere.
select set_config('lock_timeout', :milliseconds::int::text, true),
       set_config('statement_timeout', '0', true),
       set_config('search_path', concat_ws(', ', 'public', (select extnamespace::regnamespace::text from pg_extension
                                                             where extname = 'pg_trgm'), 'pg_temp'), true);

-- name: record
insert into public.schema_migrations (version, name, checksum) values (:version, :name, :checksum);
