-- Checks that every unit is accounted for. It compares items with the ledger of stock, reservations
-- with the open transfers, and the ledger with the transfers and checkouts that moved units. A row
-- is a unit that was lost, made, or promised twice.
-- expect: no rows
--   psql "$DATABASE_URL" -f sql/audit/stock_conservation.sql

set search_path = public, pg_temp;

-- All statements see the same moment, because units may move meanwhile.
begin transaction isolation level repeatable read, read only;

with ledger as (
  select item_id, sum(delta) as units from stock_moves group by item_id
),
running as (
  select item_id, seq, sum(delta) over (partition by item_id order by seq) as units from stock_moves
),
reserved as (
  select item_id, sum(quantity) as units
    from transfers
   where status in ('pending', 'approved', 'in_transit')
   group by item_id
),
moved as (
  select t.id, t.status, t.quantity, t.item_id, t.to_item_id,
         count(m.seq) as entries, coalesce(sum(m.delta), 0) as net,
         coalesce(sum(m.delta) filter (where m.item_id = t.item_id), 0) as at_source,
         coalesce(sum(m.delta) filter (where m.item_id = t.to_item_id), 0) as at_destination
    from transfers as t
    left join stock_moves as m on m.reference_id = t.id and m.reason = 'transfer'
   group by t.id
)
select 'an item differs from its ledger' as problem, i.id, i.name || ': has ' || i.quantity || ', ledger '
       || coalesce(l.units, 0) as detail
  from items as i
  left join ledger as l on l.item_id = i.id
 where i.quantity <> coalesce(l.units, 0)
union all
select 'a deleted item has units in the ledger', l.item_id, l.units::text
  from ledger as l
 where l.units <> 0
   and not exists (select from items where items.id = l.item_id)
union all
select 'an item had fewer units than none', r.item_id, r.units || ' after entry ' || r.seq
  from running as r
 where r.units < 0
union all
select 'a quantity is negative or reserved beyond it', i.id, i.name || ': has ' || i.quantity || ', reserved ' || i.reserved_quantity
  from items as i
 where i.quantity < 0 or i.reserved_quantity < 0 or i.reserved_quantity > i.quantity
union all
select 'reserved units differ from the open transfers', i.id, i.name || ': reserved ' || i.reserved_quantity || ', open transfers '
       || coalesce(r.units, 0)
  from items as i
  left join reserved as r on r.item_id = i.id
 where i.reserved_quantity <> coalesce(r.units, 0)
union all
select 'an open transfer has no item', r.item_id, r.units || ' units'
  from reserved as r
 where not exists (select from items where items.id = r.item_id)
union all
select 'a completed transfer did not move its units', m.id, 'of ' || m.quantity || ' took ' || -m.at_source || ', gave '
       || m.at_destination || ', net ' || m.net
  from moved as m
 where m.status = 'completed'
   -- An item that moved as a whole keeps its units.
   and case when m.to_item_id = m.item_id then m.entries <> 0
            else (m.entries, m.net, m.at_source, m.at_destination) <> (2, 0, -m.quantity, m.quantity) end
union all
select 'a transfer that is not completed moved units', m.id, m.status || ', ' || m.entries || ' entries in the ledger'
  from moved as m
 where m.status <> 'completed' and m.entries <> 0
union all
select 'an entry names a transfer that does not exist', m.item_id, 'entry ' || m.seq
  from stock_moves as m
 where m.reason = 'transfer'
   and not exists (select from transfers where transfers.id = m.reference_id)
 order by 1, 2;

with out as (
  select c.id, c.status, case when c.status in ('active', 'returned') then c.quantity - c.returned_quantity else 0 end as units,
         coalesce(-sum(m.delta), 0) as ledger,
         coalesce(-sum(m.delta) filter (where m.reason = 'checkout'), 0) as taken,
         case when c.status in ('active', 'returned') then c.quantity else 0 end as lent
    from checkouts as c
    left join stock_moves as m on m.reference_id = c.id and m.reason in ('checkout', 'checkin')
   group by c.id
)
select 'what a checkout has out differs from the ledger' as problem, o.id, o.status || ': ' || o.units || ' out, ledger '
       || o.ledger || ' (taken ' || o.taken || ')' as detail
  from out as o
 where (o.units, o.lent) <> (o.ledger, o.taken)
union all
select 'the parts of a checkout do not add up', c.id, c.returned_quantity || ' came back, the parts have ' || coalesce(sum(r.quantity), 0)
  from checkouts as c
  left join checkout_returns as r on r.checkout_id = c.id
 group by c.id
having c.returned_quantity <> coalesce(sum(r.quantity), 0)
union all
select 'an entry names a checkout that does not exist', m.item_id, 'entry ' || m.seq
  from stock_moves as m
 where m.reason in ('checkout', 'checkin')
   and not exists (select from checkouts where checkouts.id = m.reference_id)
 order by 1, 2;

commit;
