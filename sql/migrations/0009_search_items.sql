-- Search in name and sku at a million items, and where else there is the same.

create extension if not exists pg_trgm;
-- Without the list of pending entries: a search would read all of it, and names seldom change.
create index items_name_search on items using gin (lower(name) gin_trgm_ops) with (fastupdate = off);
create index items_sku_search on items using gin (lower(sku) gin_trgm_ops) with (fastupdate = off);

-- The same thing has the same sku; what has none goes by its name.
create index items_sku on items (sku) where sku is not null;
create index items_name on items (name) where sku is null;
