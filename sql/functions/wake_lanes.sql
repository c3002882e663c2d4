-- Tells the relays that these lanes have something to do. If that fails, the relays' sweeps find
-- it.
create or replace function public.wake_lanes(webhook_ids uuid[]) returns void
language plpgsql volatile
set lock_timeout = '100ms'
as $$
begin
  insert into public.lane_wakes (webhook_id) select pg_catalog.unnest(webhook_ids);
exception when others then
  raise warning 'lanes were not woken: %', sqlerrm;
end
$$;
