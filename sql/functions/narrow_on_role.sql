-- Trigger on users: a change of role may have taken rights away. The user's queued deliveries were
-- matched with the old rights. So from now on each of them is checked once more when it is claimed.
create or replace function public.narrow_on_role() returns trigger
language plpgsql
as $$
begin
  new.narrowed_at := now();
  return new;
end
$$;
