-- All texts of an item, as they are searched. It begins and ends with a space.
-- Stored: item_texts holds its results. A changed text needs a migration that writes them anew.
create or replace function public.item_text(item public.items) returns text
language sql stable parallel safe
return ' ' || public.search_text(pg_catalog.concat_ws(' ', item.name, item.sku, item.serial_number, item.description)) || ' ';
