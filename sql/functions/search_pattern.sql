-- A searched word as a pattern for LIKE. It needs no escapes, because search_text removes
-- punctuation. A word of one or two letters is searched only at the beginning of words, because the
-- index can find it only there.
create or replace function public.search_pattern(word text) returns text
language sql immutable strict parallel safe
return '%' || case when public.search_text(word) ~ '^ *[^ ]{1,2}( |$)' then ' ' else '' end
           || pg_catalog.btrim(public.search_text(word)) || '%';
