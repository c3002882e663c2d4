-- When a partition of the logs begins and ends is read from its bounds, not from its name. Whatever cannot be made or dropped is told of
-- by a notice, and the rest goes on.

drop function drop_partition(timestamptz);
drop function make_partitions(integer);

-- The partitions of both logs. Without an end: one that takes what no other does, or whose range is open.
create function log_partitions() returns table (parent regclass, child regclass, kind "char", begins timestamptz, ends timestamptz)
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

-- When an attempt of an event is logged: now, and at the event's time where that is in the future, as the log is searched from there on.
-- An event that was written while the clock was ahead has its partition; one whose time psql has changed may have none.
create function logged_at(event_at timestamptz) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when event_at > now() and exists (select from public.log_partitions() as part
                                                 where part.parent = 'public.attempts'::regclass
                                                   and part.begins <= event_at and part.ends > event_at)
              then event_at else now() end
$$;

-- Makes the partitions of both logs for today and the days ahead, and says how many. As its owner, so that the relay's role need own
-- nothing. Raises lock_not_available where that alone kept it from making any.
create function make_partitions(days_ahead integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, public, pg_temp set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  missing record;
  name    text;
  made    integer := 0;
  locked  boolean := false;
begin
  for missing in
    select log.parent, day::timestamptz as day, day + interval '1 day' as next_day
      from (values ('events'), ('attempts')) as log (parent)
     cross join generate_series(current_date::timestamptz, current_date + days_ahead, interval '1 day') as day
     where not exists (select from public.log_partitions() as part
                        where part.parent = log.parent::regclass and part.begins <= day and part.ends >= day + interval '1 day')
  loop
    name := missing.parent || '_' || to_char(missing.day, 'YYYYMMDD');
    -- Something else may have that name.
    while to_regclass(format('public.%I', name)) is not null loop
      name := name || '_';
    end loop;
    begin
      -- Attached, not created in place: that takes a lock which reads and writes of the parent go on under.
      execute format('create table public.%I (like public.%I including defaults including constraints)', name, missing.parent);
      execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
                     missing.parent, name, missing.day, missing.next_day);
      made := made + 1;
    exception
      when lock_not_available then
        locked := true;
      when others then
        raise notice 'no partition of % is made for %: %', missing.parent, missing.day::date, sqlerrm;
    end;
  end loop;
  if locked and made = 0 then
    raise lock_not_available using message = 'no lock was to be had for any of the partitions that are missing';
  end if;
  return made;
end
$$;

-- Drops one partition that ended before the given moment and returns its name; null if there is none. An events partition stays while
-- the queue refers to it, or an attempt that is not older itself. Raises lock_not_available where that alone kept it from dropping any.
create function drop_partition(ended_before timestamptz) returns text
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
    raise lock_not_available using message = 'no lock was to be had for any of the partitions that are to be dropped';
  end if;
  return null;
end
$$;
