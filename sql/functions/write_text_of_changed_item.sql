-- Trigger on items: writes an item's search text anew after one of the searched columns has
-- changed.
create or replace function public.write_text_of_changed_item() returns trigger
language plpgsql
as $$
begin
  update public.item_texts set text = public.item_text(new) where item_id = new.id;
  return null;
end
$$;
