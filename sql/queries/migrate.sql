-- name: try_lock
select pg_try_advisory_lock(:class_id::int, :object_id::int);

-- name: unlock
select pg_advisory_unlock(:class_id::int, :object_id::int);

-- name: create_table
create table if not exists schema_migrations (
  version    integer     not null primary key,
  name       text        not null,
  checksum   text        not null,
  applied_at timestamptz not null default now()
);

-- name: table_exists
select to_regclass('public.schema_migrations') is not null;

-- name: applied
select version, checksum from schema_migrations order by version;

-- name: be_quick
-- For the rest of the transaction.
select set_config('lock_timeout', :milliseconds::int::text, true);

-- name: record
insert into schema_migrations (version, name, checksum) values (:version, :name, :checksum);
