-- The doorbell, as writers try it. A leader that sleeps holds lock (1246712659, 2) exclusively. If
-- this transaction gets the lock shared, the leader is awake. It can then neither fall asleep nor
-- stop looking before this transaction has ended. Or there is no leader: a new one looks first. If
-- the lock is refused, the leader sleeps, or waits for the lock for a moment, and must be woken. An
-- error with the server's locks must not fail the writer.
create or replace function public.leader_is_awake() returns boolean
language plpgsql volatile
as $$
begin
  return pg_catalog.pg_try_advisory_xact_lock_shared(1246712659, 2);
exception when others then
  -- The table of locks is full.
  return false;
end
$$;
