-- The table of receivers' health was called lanes. A lane is a webhook's deliveries, as one queue,
-- and nothing else. Processes of an older version do not know the new name: stop them first.

alter table lanes rename to receiver_health;

-- Those of NOT NULL have a name since PostgreSQL 18.
do $$
declare
  old name;
begin
  for old in select conname from pg_constraint where conrelid = 'public.receiver_health'::regclass and starts_with(conname, 'lanes_') loop
    execute format('alter table public.receiver_health rename constraint %I to %I', old, 'receiver_health_' || substr(old, 7));
  end loop;
end
$$;

create function add_receiver_health() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  insert into receiver_health (webhook_id) values (new.id);
  return null;
end
$$;

drop trigger webhooks_open_lane on webhooks;
create trigger webhooks_add_receiver_health after insert on webhooks
  for each row execute function add_receiver_health();
drop function open_lane();

-- Else as it is.
do $$
declare
  definition text;
begin
  for definition in
    select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace and proname = 'fan_out_few'
  loop
    execute replace(definition, ' from lanes as ', ' from receiver_health as ');
  end loop;
end
$$;
