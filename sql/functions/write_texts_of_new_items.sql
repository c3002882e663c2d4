-- Trigger on items: writes the search texts of new items.
create or replace function public.write_texts_of_new_items() returns trigger
language plpgsql
as $$
begin
  insert into public.item_texts (item_id, text) select id, public.item_text(fresh) from fresh;
  return null;
end
$$;
