-- The departures from several locations.
-- Stored: the generated column webhooks.location_keys uses it. A changed text would not change the
-- rows.
create or replace function public.departures(location_ids uuid[]) returns uuid[]
language sql immutable strict parallel safe
return array(select public.departure(id) from unnest(location_ids) as location (id));
