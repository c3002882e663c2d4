-- name: list
-- Those that are listed: who ends properly leaves, and who does not is removed by a peer some seconds later, or stays while there is
-- none.
select id, version, host, started_at, seen_at, leader, in_flight, delivered, attempted, deliver_rate, attempt_rate,
       seen_at > clock_timestamp() - make_interval(secs => :stale_seconds) as alive
  from relays
 order by started_at, id;
