-- name: list
-- Those that are listed: who ends properly leaves, and who does not is removed by a peer some seconds later, or stays while there is
-- none.
select id, version, host, started_at, seen_at, leader, in_flight, delivered, attempted, deliver_rate, attempt_rate,
       -- A time that lies ahead is of a clock that was: who is alive has written a new one within a second.
       abs(extract(epoch from clock_timestamp() - seen_at)) < :stale_seconds::float8 as alive
  from relays
 order by started_at, id;
