-- Trigger on location_foremen: a foreman who loses a location loses rights, as after a change of
-- role.
create or replace function public.narrow_on_unassignment() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  -- Lock in the order of ids, so that two such statements never deadlock.
  perform from users where id in (select user_id from gone) order by id for no key update;
  update users set narrowed_at = now() where id in (select user_id from gone);
  return null;
end
$$;
