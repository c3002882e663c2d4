-- Trigger on relays: keeps the mark of a relay that is no longer listed, so that it recognises its
-- past when it comes back.
create or replace function public.keep_mark() returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
  insert into public.relay_marks (relay_id, mark) values (old.id, old.mark)
      on conflict (relay_id) do update set mark = excluded.mark, left_at = excluded.left_at;
  return null;
end
$$;
