-- name: targets
select id, version, owner_id, url, secret_sealed, previous_secret_sealed,
       case when lasts(overlap_until, clock_timestamp(), '7 days') then overlap_until end as overlap_until, headers_sealed, max_retries, retry_delay_ms,
       retry_ladder, retry_delays_ms, timeout_ms, on_failure
  from webhooks
 where id = any (:webhook_ids::uuid[]);
