-- The identity of the server, of its database and of its timeline. A value is null if it cannot be
-- known: on a standby, or if the rights are missing.
create or replace function public.server_identity(out system_identifier bigint, out database_oid bigint, out timeline integer)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if has_function_privilege('pg_control_system()', 'execute') then
    system_identifier := (select control.system_identifier from pg_control_system() as control);
  end if;
  database_oid := (select oid::bigint from pg_database where datname = current_database());
  if not pg_is_in_recovery() then
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;
  end if;
end
$$;
