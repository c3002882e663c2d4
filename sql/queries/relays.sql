-- name: list
-- The listed relays. A relay that ends properly removes its own row. If a relay does not, a peer
-- removes its row some seconds later. Without a peer, the row stays.
select id, version, host, started_at, seen_at, leader, in_flight, delivered, attempted, deliver_rate, attempt_rate,
       -- If this time lies ahead, the clock was set back since. A living relay has written a new
       -- one within a second.
       abs(extract(epoch from clock_timestamp() - seen_at)) < :stale_seconds::float8 as alive
  from relays
 order by started_at, id;
