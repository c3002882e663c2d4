-- Trigger on webhooks: a new webhook gets its row in lanes, which holds what is known about its
-- receiver.
create or replace function public.open_lane() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  insert into lanes (webhook_id) values (new.id);
  return null;
end
$$;
