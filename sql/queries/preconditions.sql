-- name: server
select current_setting('server_encoding') as encoding,
       pg_is_in_recovery() as standby,
       current_setting('transaction_read_only') = 'on' as read_only,
       has_schema_privilege('public', 'usage') as may_use;

-- name: lacking
-- The rights on our tables that this role lacks: to read each of them, and to write events.
select needed.privilege || ' on ' || needed.relation
  from (select 'select' as privilege, ours.name as relation from unnest(:tables::text[]) as ours (name)
        union all
        select 'insert', 'outbox') as needed
 where not has_table_privilege(to_regclass('public.' || needed.relation), needed.privilege)
 order by 1;

-- name: may_migrate
-- `taken`: names of our tables that the schema has. `not_owned`: those of them that another role
-- owns, which alone may change them. pg_trgm is a trusted extension: any role that may create in
-- the database may add it.
select has_schema_privilege('public', 'create') as may_create,
       exists (select from pg_available_extensions where name = 'pg_trgm') as has_pg_trgm,
       has_database_privilege(current_database(), 'create') or exists (select from pg_extension where extname = 'pg_trgm') as may_extend,
       array(select relname::text from pg_class
              where relnamespace = 'public'::regnamespace and relname = any (:tables::text[])
              order by 1) as taken,
       array(select relname::text from pg_class
              where relnamespace = 'public'::regnamespace and relname = any (:tables) and not pg_has_role(relowner, 'usage')
              order by 1) as not_owned;
