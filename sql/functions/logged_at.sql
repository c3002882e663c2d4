-- When an attempt of an event is logged: now, or at the event's own time if that lies ahead. The
-- log is searched from the event's time on. An event that was written while the clock was ahead has
-- its partition. If psql has changed an event's time, there may be no partition for it; then its
-- attempts are logged now.
create or replace function public.logged_at(event_at timestamptz) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when event_at > now() and exists (select from public.log_partitions() as part
                                                 where part.parent = 'public.attempts'::regclass
                                                   and part.begins <= event_at and part.ends > event_at)
              then event_at else now() end
$$;
