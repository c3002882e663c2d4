-- The newest position of the log. It is the default of webhooks.log_position: the stream of a new
-- webhook begins here.
create or replace function public.log_end() returns bigint
language sql stable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
  select position from public.log_head
$$;
