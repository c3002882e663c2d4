-- A searched word as a pattern for LIKE. Nothing in it is special to LIKE, because search_text
-- removes punctuation. A word of one or two letters is searched at the beginning of words: only
-- there can the index find it.
create or replace function public.search_pattern(word text) returns text
language sql immutable strict parallel safe
return '%' || case when public.search_text(word) ~ '^ *[^ ]{1,2}( |$)' then ' ' else '' end
           || pg_catalog.btrim(public.search_text(word)) || '%';
