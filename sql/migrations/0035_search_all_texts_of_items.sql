-- Search in all texts of an item, and lists of items in every order, at a million items.
--
-- The text that a search looks through is in a table of its own: a trigram index costs an entry for each letter, and a row of
-- items is written anew with each change of its quantity.

-- Small letters; a space for each run of ASCII punctuation, so that 'hp-100' and 'HP 100' are the same; spaces around ideographs
-- and kana, which are written without any.
create function public.search_text(given text) returns text
language sql immutable strict parallel safe
return pg_catalog.regexp_replace(
  pg_catalog.regexp_replace(pg_catalog.lower(given), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'),
  '([\u2e80-\u9fff\uf900-\ufaff])', ' \1 ', 'g');

-- For LIKE. A word of one or two letters is looked for at the beginning of words: there the index has something to find it by.
-- Nothing in it is special to LIKE, as punctuation is gone.
create function public.search_pattern(word text) returns text
language sql immutable strict parallel safe
return '%' || case when public.search_text(word) ~ '^ *[^ ]{1,2}( |$)' then ' ' else '' end
           || pg_catalog.btrim(public.search_text(word)) || '%';

create table public.item_texts (
  item_id uuid not null primary key references public.items on delete cascade,
  -- Begins and ends with a space.
  text    text collate "C" not null
);

create function public.item_text(item public.items) returns text
language sql stable parallel safe
return ' ' || public.search_text(pg_catalog.concat_ws(' ', item.name, item.sku, item.serial_number, item.description)) || ' ';

create function public.write_texts_of_new_items() returns trigger
language plpgsql
as $$
begin
  insert into public.item_texts (item_id, text) select id, public.item_text(fresh) from fresh;
  return null;
end
$$;

create function public.write_text_of_changed_item() returns trigger
language plpgsql
as $$
begin
  update public.item_texts set text = public.item_text(new) where item_id = new.id;
  return null;
end
$$;

create trigger items_write_texts_of_new
  after insert on public.items referencing new table as fresh
  for each statement execute function public.write_texts_of_new_items();
create trigger items_write_text_of_changed
  after update on public.items
  for each row when (old.name is distinct from new.name
                     or old.sku is distinct from new.sku
                     or old.serial_number is distinct from new.serial_number
                     or old.description is distinct from new.description)
  execute function public.write_text_of_changed_item();

insert into public.item_texts (item_id, text) select id, public.item_text(items) from public.items;

-- Without the list of pending entries: a search would read all of it, and texts seldom change.
create index item_texts_search on public.item_texts using gin (text gin_trgm_ops) with (fastupdate = off);

-- One for each order that a list may have. Text is compared by its bytes: that is the same on every system, and no upgrade of the
-- system's collations breaks these indexes. What has no sku, or no date, comes before what has one.
create index items_by_name on public.items ((lower(name) collate "C"), id);
create index items_by_sku on public.items ((lower(coalesce(sku, '')) collate "C"), id);
create index items_by_quantity on public.items (quantity, id);
create index items_by_created_at on public.items (created_at, id);
create index items_by_updated_at on public.items (updated_at, id);
create index items_by_purchase_date on public.items ((coalesce(purchase_date, '-infinity')), id);

-- What filters find few rows by. Most items have the usual status and condition, and need no entry: a list of those walks.
create index items_status on public.items (status) where status <> 'available';
create index items_condition on public.items (condition) where condition <> 'good';
create index items_low_stock on public.items (id) where quantity < min_quantity;
analyze public.item_texts;
