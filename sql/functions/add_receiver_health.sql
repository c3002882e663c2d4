-- Trigger on webhooks: a new webhook gets its row in receiver_health.
create or replace function public.add_receiver_health() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  insert into receiver_health (webhook_id) values (new.id);
  return null;
end
$$;
