-- name: relay_is_alive
select exists (
  select from relays
   where host = :host and seen_at > clock_timestamp() - make_interval(secs => :within_seconds));
