-- The partitions of events and attempts, with their bounds. `ends` is null for a default partition
-- and for one whose range is open.
create or replace function public.log_partitions()
returns table (parent regclass, child regclass, kind "char", begins timestamptz, ends timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO'
as $$
  select inhparent::regclass, part.oid::regclass, part.relkind,
         substring(bound from $re$FROM \('([^']*)'\)$re$)::timestamptz, substring(bound from $re$TO \('([^']*)'\)$re$)::timestamptz
    from pg_inherits
    join pg_class as part on part.oid = inhrelid
   cross join pg_get_expr(part.relpartbound, part.oid) as bound
   where inhparent in ('public.attempts'::regclass, 'public.events'::regclass)
$$;
