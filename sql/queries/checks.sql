-- name: relay_is_alive
select exists (
  select from relays
   where host = :host and abs(extract(epoch from clock_timestamp() - seen_at)) < :within_seconds::float8);
