-- A wake-up is a hint, with a poll behind it. Nothing that the server's locks or notifications are in may fail the transaction that
-- gives one. NOTIFY itself can fail at the commit only, where nothing catches it: when its queue is full, when the transaction is to be
-- prepared, when the server's table of locks is full. So it is decided as late as it can be, in a deferred trigger, and left out then.

drop trigger outbox_ring on outbox;
drop trigger lane_wakes_ring on lane_wakes;
drop function ring_after_statement();
drop function ring();

-- The doorbell. Lock (1246712659, 2) is held exclusively by a relay leader that sleeps. Granted to us, shared: the leader is awake, and
-- it cannot go to sleep, nor stop looking, before this transaction has ended. Refused: it sleeps, and is to be woken.
create function leader_is_awake() returns boolean
language plpgsql volatile
as $$
begin
  return pg_catalog.pg_try_advisory_xact_lock_shared(1246712659, 2);
exception when others then
  -- The table of locks is full.
  return false;
end
$$;

-- Wakes a leader that sleeps. NOTIFY takes a lock for the whole cluster over the commit's flush: that is why it is not always called.
create function ring() returns trigger
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
    -- NOTIFY takes one more lock. Nobody else has the number of this one, so it needs as much room in the table.
    perform pg_catalog.pg_advisory_lock(1246712659, - pg_catalog.pg_backend_pid());
    perform pg_catalog.pg_advisory_unlock(1246712659, - pg_catalog.pg_backend_pid());
  exception when others then
    return null;
  end;
  perform pg_catalog.pg_notify('jossiedb_wake', '');
  -- Once a transaction is enough, however many rows it writes.
  perform pg_catalog.set_config('jossiedb.rung', 'yes', true);
  return null;
end
$$;

create constraint trigger outbox_ring after insert on outbox deferrable initially deferred
  for each row when (not leader_is_awake()) execute function ring();
create constraint trigger lane_wakes_ring after insert on lane_wakes deferrable initially deferred
  for each row when (not leader_is_awake()) execute function ring();

-- Tells the relays of lanes that were given something to do. What it cannot tell they find by their sweeps.
create function wake_lanes(webhook_ids uuid[]) returns void
language plpgsql volatile set lock_timeout = '100ms'
as $$
begin
  insert into public.lane_wakes (webhook_id) select pg_catalog.unnest(webhook_ids);
exception when others then
  raise warning 'lanes were not woken: %', sqlerrm;
end
$$;

-- Waits until this transaction alone counts failed logins of a name from an address. Where somebody does not let go, it is not waited for
-- longer than a second: those who try at that moment are counted less exactly.
create function await_login_turn(identifier text, ip_address text) returns void
language plpgsql volatile set lock_timeout = '1s'
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
    'login ' || pg_catalog.lower(identifier collate "C") || ' ' || ip_address, 0));
exception when others then
  raise warning 'a failed login is counted out of turn: %', sqlerrm;
end
$$;
