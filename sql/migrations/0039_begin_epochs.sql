-- A database that was restored from a backup is another past: what it gives out next (positions, numbers, fences) it may have given
-- before, for something else. A new epoch begins above all that was given. Who begins one, and when: docs/adr/0024.

-- The present epoch. `base`: positions and numbers of items' orders that it gives are greater; it is the time in microseconds since
-- 1970 as the epoch begins, or more, so that it lies above whatever a past that is lost has given. `bases`: of all epochs that this
-- database knows of; behind each there is a gap. The server that it began on, or was last recognised on; null until a process starts.
create table epoch (
  only_row          boolean     primary key default true check (only_row),
  id                uuid        not null default gen_random_uuid(),
  base              bigint      not null default 0 check (base >= 0 and base <= 9007199254740991),
  bases             bigint[]    not null default '{0}',
  begun_at          timestamptz not null default now(),
  reason            text        not null,
  system_identifier bigint,
  database_oid      bigint,
  timeline          integer,
  check (bases[cardinality(bases)] = base)
);
insert into epoch (reason) values ('the schema was made');

-- What a relay wrote with its last beat. It knows it, and so it knows this past again. Of relays that were taken for dead it is kept.
alter table relays add column mark uuid;
create table relay_marks (
  relay_id uuid        primary key,
  mark     uuid,
  left_at  timestamptz not null default now()
);

create function keep_mark() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  insert into public.relay_marks (relay_id, mark) values (old.id, old.mark)
      on conflict (relay_id) do update set mark = excluded.mark, left_at = excluded.left_at;
  return null;
end
$$;

create trigger relays_keep_mark after delete on relays
  for each row execute function keep_mark();

-- What tells a server, its database and its timeline from others. Null: that cannot be told, on a standby or for lack of rights.
create function server_identity(out system_identifier bigint, out database_oid bigint, out timeline integer)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if has_function_privilege('pg_control_system()', 'execute') then
    system_identifier := (select control.system_identifier from pg_control_system() as control);
  end if;
  database_oid := (select oid::bigint from pg_database where datname = current_database());
  if not pg_is_in_recovery() then
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;
  end if;
end
$$;

-- Begins a new epoch, unless the present one is no longer the `expected` one (null: whichever it is), or, `if_moved`, a process has
-- recognised the server meanwhile. `above`: a position that is known to have been given. Leases of the past are void: no relay is
-- listed any more. Returns the id of the epoch that holds now.
create function begin_epoch(expected uuid, above bigint, why text, if_moved boolean) returns uuid
language plpgsql security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
  room    constant bigint := 1000000000;
  present public.epoch;
  server  record;
  start   bigint;
begin
  -- A dump of the data alone that is older than this table leaves it empty.
  insert into public.epoch (reason) values ('there was none') on conflict do nothing;
  select * into strict present from public.epoch for update;
  select * into server from public.server_identity();
  if present.id <> expected
     or (if_moved and (present.system_identifier, present.database_oid, present.timeline)
                      is not distinct from (server.system_identifier, server.database_oid, server.timeline)) then
    return present.id;
  end if;
  select greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint, position + room, above + room, present.base + room)
    into strict start
    from public.log_head
     for update;
  update public.log_head set position = start;
  perform setval('public.fences', greatest(start, last_value + room)) from public.fences;
  perform setval('public.outbox_seq_seq', greatest(start, last_value + room)) from public.outbox_seq_seq;
  delete from public.relays;
  delete from public.relay_marks;
  update public.epoch
     set id = gen_random_uuid(), base = start, bases = present.bases || start, begun_at = now(), reason = why,
         system_identifier = server.system_identifier, database_oid = server.database_oid, timeline = server.timeline
  returning id into present.id;
  return present.id;
end
$$;

-- A webhook's version grows by a random step with each change. Two pasts that counted would count to the same number. (It grows, as relays
-- of an older version of this program take a smaller one for older.)
create function renew_version() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  new.version := old.version + 1 + ('x' || right(gen_random_uuid()::text, 10))::bit(40)::bigint;
  return new;
end
$$;

create trigger webhooks_renew_version before update of version on webhooks
  for each row execute function renew_version();
