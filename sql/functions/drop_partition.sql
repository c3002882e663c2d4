-- Drops one partition that ended before a moment and returns its name; null if there is none. A
-- partition of events stays while the queue refers to it. It also stays while an attempt refers to
-- it that is not old enough itself. Raises lock_not_available if only locks kept it from dropping
-- any. It runs with the rights of its owner, so that the relay's role need own nothing.
create or replace function public.drop_partition(ended_before timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, public, pg_temp set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  part   record;
  name   text;
  locked boolean := false;
begin
  for part in select * from public.log_partitions() order by parent = 'public.events'::regclass, ends, child::text loop
    if part.ends is null or part.kind not in ('r', 'p') then
      raise notice 'retention leaves % alone: it is %', part.child,
        case when part.kind not in ('r', 'p') then 'no table of this database' else 'a partition without an end' end;
      continue;
    end if;
    continue when part.ends > ended_before;
    name := part.child::text;
    begin
      continue when part.parent = 'public.events'::regclass and (
        exists (select from public.deliveries where event_at < part.ends)
        or exists (select from public.attempts
                    where event_at < part.ends and recorded_at >= ended_before - interval '1 day'));
      execute format('drop table %s', part.child);
      return name;
    exception
      when lock_not_available then
        locked := true;
      when others then
        raise notice 'retention leaves % alone: %', name, sqlerrm;
    end;
  end loop;
  if locked then
    raise lock_not_available using message = 'all partitions that are to be dropped are locked';
  end if;
  return null;
end
$$;
