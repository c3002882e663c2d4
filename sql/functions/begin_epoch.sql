-- Begins a new epoch, unless another process was first. It was if the present epoch is not the
-- `expected` one (null: any), or, with `if_moved`, if the server has been recognised meanwhile.
-- `above`: a position that is known to have been given. All leases become void, because no relay is
-- listed any more. Returns the id of the epoch that holds now.
create or replace function public.begin_epoch(expected uuid, above bigint, why text, if_moved boolean) returns uuid
language plpgsql security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
  room    constant bigint := 1000000000;
  present public.epoch;
  server  record;
  start   bigint;
begin
  -- If a dump of the data alone is older than this table, its restore leaves the table empty.
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
