"""A database's schema as a set of lines, to be compared with another."""

import asyncpg

# Every object of ours as one line with all its properties. Daily partitions and their objects are
# left out.
CATALOG = """
with ours as (
  select c.oid, c.relname, c.relkind, c.relpersistence, c.reloptions
    from pg_class c
   where c.relnamespace = 'public'::regnamespace and not c.relispartition
     and not exists (select from pg_index i join pg_class t on t.oid = i.indrelid where i.indexrelid = c.oid and t.relispartition)
)
select format('relation %s %s %s %s %s', relname, relkind, relpersistence, array_to_string(reloptions, ','),
              case relkind when 'p' then pg_get_partkeydef(ours.oid) when 'v' then pg_get_viewdef(ours.oid) end) from ours
union all
select format('column %s.%s %s %s %s not null %s default %s identity %s generated %s collation %s', relname,
              rank() over (partition by ours.oid order by attnum), attname, format_type(atttypid, atttypmod), attstorage, attnotnull,
              pg_get_expr(adbin, adrelid), attidentity, attgenerated, attcollation::regcollation)
  from ours join pg_attribute on attrelid = oid and attnum > 0 and not attisdropped
  left join pg_attrdef on adrelid = attrelid and adnum = attnum
 where relkind in ('r', 'p', 'v', 'm')
union all
select format('constraint %s.%s %s', relname, conname, pg_get_constraintdef(con.oid)) from ours join pg_constraint con on conrelid = ours.oid
union all
select format('index %s', pg_get_indexdef(ours.oid)) from ours where relkind in ('i', 'I')
union all
select format('sequence %s %s', relname, seq) from ours join lateral (
  select seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle from pg_sequence where seqrelid = ours.oid) seq on true
union all
select format('trigger %s.%s %s %s', relname, tgname, tgenabled, pg_get_triggerdef(t.oid))
  from ours join pg_trigger t on tgrelid = ours.oid where not tgisinternal
union all
select format('function %s', pg_get_functiondef(oid)) from pg_proc where pronamespace = 'public'::regnamespace
union all
select format('type %s %s', typname, typtype) from pg_type where typnamespace = 'public'::regnamespace and typtype in ('d', 'e', 'r', 'm')
union all
select format('extension %s', extname) from pg_extension
"""


async def catalog(url: str) -> set[str]:
    # Names are printed relative to this search path.
    connection = await asyncpg.connect(url, server_settings={"search_path": "public"})
    try:
        rows = await connection.fetch(CATALOG)
    finally:
        await connection.close()
    assert len({row[0].split()[0] for row in rows}) >= 6
    return {row[0] for row in rows}
