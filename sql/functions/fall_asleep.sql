-- The leader's last look before it sleeps, in one call. It takes the doorbell's lock, looks, and
-- keeps the lock only if there is nothing to do. Returns one of:
-- * 'work': there is something to do.
-- * 'busy': there is nothing to do, but writers are in flight.
-- * 'asleep': there is nothing to do, and the lock is held. Writers ring from now on.
--
-- Trap: it must be volatile, so that the look has a snapshot of its own, taken after the lock was
-- granted.
create or replace function public.fall_asleep(class_id integer, object_id integer) returns text
language plpgsql volatile
set search_path = pg_catalog, public, pg_temp
as $$
declare
  granted constant boolean := pg_try_advisory_lock(class_id, object_id);
begin
  if exists (select from outbox) or exists (select from lane_wakes) then
    if granted then
      perform pg_advisory_unlock(class_id, object_id);
    end if;
    return 'work';
  end if;
  return case when granted then 'asleep' else 'busy' end;
end
$$;
