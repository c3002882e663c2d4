-- Deferred trigger on outbox and lane_wakes: wakes a leader that sleeps. NOTIFY takes a lock for
-- the whole cluster and holds it while the commit is flushed, so it is sent only if the leader
-- sleeps. That is asked twice: at the insert, by the trigger's WHEN, and at the commit, here.
-- Trap: NOTIFY can fail at the commit, where nothing catches the error. It does if its queue is
-- full, if the transaction is to be prepared, or if the server's table of locks is full. In these
-- cases the writer does not ring, and the leader's poll finds the row.
create or replace function public.ring() returns trigger
language plpgsql volatile
as $$
begin
  if pg_catalog.current_setting('jossiedb.rung', true) = 'yes' or public.leader_is_awake() then
    return null;
  end if;
  if pg_catalog.pg_notification_queue_usage() > 0.9 or pg_catalog.current_query() ~* '\mprepare\s+transaction\M' then
    return null;
  end if;
  begin
    -- NOTIFY takes one more lock. So take and release one with a number that is only ours: it needs
    -- as much room in the table of locks.
    perform pg_catalog.pg_advisory_lock(1246712659, - pg_catalog.pg_backend_pid());
    perform pg_catalog.pg_advisory_unlock(1246712659, - pg_catalog.pg_backend_pid());
  exception when others then
    return null;
  end;
  perform pg_catalog.pg_notify('jossiedb_wake', '');
  -- One ring is enough for a transaction, however many rows it writes.
  perform pg_catalog.set_config('jossiedb.rung', 'yes', true);
  return null;
end
$$;
