-- Trigger on users: a change of role may have taken rights away. What is queued for the user's
-- webhooks was matched with the rights of that moment, so from now on each such delivery is checked
-- once more when it is claimed.
create or replace function public.narrow_on_role() returns trigger
language plpgsql
as $$
begin
  new.narrowed_at := now();
  return new;
end
$$;
