-- Trigger on webhooks: a webhook's version grows by a random step with each change. If it grew by
-- one, a restored database would reach a number that the lost one had given already. It never
-- shrinks, because a relay takes the smaller of two versions for the older one.
create or replace function public.renew_version() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  new.version := old.version + 1 + ('x' || right(gen_random_uuid()::text, 10))::bit(40)::bigint;
  return new;
end
$$;
