-- PostgreSQL knows the years 4713 BC to 294276, JavaScript's ISO 8601 and the relay those from 1 to 9999. A time outside of them, which
-- only psql could give, stopped the relay that was to read it; now it is refused. Rows that are there leave the queue as they are.

with moved as (
  delete from outbox
   where occurred_at < '0001-01-01 00:00:00+00' or occurred_at >= '10000-01-01 00:00:00+00'
  returning *
)
insert into set_aside (seq, id, type, data, occurred_at, location_ids, traceparent, written_at, reason)
select seq, id, type, data, occurred_at, location_ids, traceparent, written_at, 'occurred_at is not within the years 1 to 9999'
  from moved;

alter table outbox
  drop constraint outbox_occurred_at_check,
  add constraint outbox_occurred_at_check
      check (occurred_at >= '0001-01-01 00:00:00+00' and occurred_at < '10000-01-01 00:00:00+00');
