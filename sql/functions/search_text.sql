-- Text as it is searched: in lower case, with a space for each run of ASCII punctuation, so that
-- 'hp-100' and 'HP 100' are the same. Ideographs and kana, which are written without spaces, get
-- spaces around them.
-- Stored: item_texts holds its results. A changed text needs a migration that writes them anew.
create or replace function public.search_text(given text) returns text
language sql immutable strict parallel safe
return pg_catalog.regexp_replace(
  pg_catalog.regexp_replace(pg_catalog.lower(given), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'),
  '([\u2e80-\u9fff\uf900-\ufaff])', ' \1 ', 'g');
