-- The leader's last look before it sleeps, in one call: take the doorbell's lock, look, and keep it only if there is nothing to do.

-- 'work': there is something to look at. 'busy': there is not, but writers are in flight. 'asleep': neither; the lock is held, and
-- whoever writes from now on rings. Volatile, so that the look has a snapshot of its own, taken after the lock was granted.
create function fall_asleep(class_id integer, object_id integer) returns text
language plpgsql volatile
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
