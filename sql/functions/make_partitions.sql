-- Makes the partitions of events and attempts for today and the days ahead, and returns how many it
-- made. Raises lock_not_available if only locks kept it from making any.
-- It runs with the rights of its owner, so that the relay's role need own nothing.
create or replace function public.make_partitions(days_ahead integer) returns integer
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
    -- Another relation may have that name.
    while to_regclass(format('public.%I', name)) is not null loop
      name := name || '_';
    end loop;
    begin
      -- The table is attached, not created in place. Attaching takes a lock under which reads and
      -- writes of the parent go on.
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
    raise lock_not_available using message = 'the parents of all partitions that are missing are locked';
  end if;
  return made;
end
$$;
