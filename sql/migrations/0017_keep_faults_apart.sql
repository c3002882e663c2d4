-- Deliveries that have lost leases are found without reading the others, to be sent alone; and old partitions are dropped one in a
-- transaction, so that none is held locked while it is looked for the next.

-- Holds almost nothing, and lost_leases stays as it is where nothing is lost, so that a claim stays in its page.
create index deliveries_suspects on deliveries (webhook_id) where lost_leases >= 4;

-- Drops the oldest partition that ended before the given moment; of attempts first. An events partition stays while an attempts
-- partition or the queue refers to it. Returns the name, or null where there is none to drop.
create function drop_partition(ended_before timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  child  record;
  day    timestamptz;
begin
  for child in
    select part.relname as name, parent.relname as parent
      from pg_inherits
      join pg_class part on part.oid = inhrelid
      join pg_class parent on parent.oid = inhparent
     where inhparent in ('public.attempts'::regclass, 'public.events'::regclass)
     order by parent.relname, part.relname
  loop
    -- Here and not in the statement, which may read names of other relations first.
    day := to_date(right(child.name, 8), 'YYYYMMDD');
    continue when day + interval '1 day' > ended_before;
    continue when child.parent = 'events' and (
      exists (select from public.deliveries where event_at < day + interval '1 day')
      or exists (select from public.attempts where event_at < day + interval '1 day'));
    execute format('drop table public.%I', child.name);
    return child.name;
  end loop;
  return null;
end
$$;

drop function drop_partitions(timestamptz);
