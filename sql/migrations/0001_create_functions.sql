-- Functions that tables and triggers of later migrations rest on.

-- Time-ordered ids. Built in from PostgreSQL 18 on, where pg_catalog's is found first; 15 to 17 use this one.
create function uuidv7() returns uuid
language sql volatile parallel safe
as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
              from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid
$$;

-- The moment that a UUIDv7 was made, to the millisecond.
create function uuid_time(id uuid) returns timestamptz
language sql immutable strict parallel safe
as $$
  select to_timestamp(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;

-- The doorbell. Call it in the transaction that wrote something for the relay to look at.
-- Lock (1246712659, 2) is held exclusively by a relay leader that sleeps. Granted to us, shared: the leader is awake, and
-- it cannot go to sleep, nor stop looking, before this transaction has ended. Refused: it sleeps, so wake it.
-- NOTIFY takes a lock for the whole cluster over the commit's flush: that is why it is not simply always called.
create function ring() returns void
language plpgsql volatile
as $$
begin
  if not pg_try_advisory_xact_lock_shared(1246712659, 2) then
    perform pg_notify('jossiedb_wake', '');
  end if;
end
$$;

create function ring_after_statement() returns trigger
language plpgsql
as $$
begin
  perform ring();
  return null;
end
$$;
