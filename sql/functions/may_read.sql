-- Whether a user may read the subject of an event. `audience` says of what kind the subject is.
create or replace function public.may_read(
  role text, owner_id uuid, audience text, location_ids uuid[], user_ids uuid[]
) returns boolean
language sql stable parallel safe
as $$
  select case
    when role = 'admin' then true
    when audience = 'inventory' then
      role <> 'foreman' or location_ids = '{}'
      or exists (select from public.location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids))
    when audience in ('transfer', 'checkout') then
      role = 'supervisor' or owner_id = any (user_ids)
      or (role = 'foreman'
          and exists (select from public.location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids)))
    when audience = 'user' then owner_id = any (user_ids)
    else false
  end
$$;
