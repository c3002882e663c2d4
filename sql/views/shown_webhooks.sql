-- Webhooks as the API shows them, with the columns that commands need to change them. Secrets are
-- not in it. This is the one list of these columns. With another column, the view gets a new name
-- (docs/adr/0027).
-- Trap: it needs clock_timestamp(), not now(). A command that waited for a lock may read a webhook
-- whose overlap began after the command's own transaction.
create or replace view public.shown_webhooks as
select id, owner_id, url, events, active, filter_locations, filter_categories, min_stock_threshold, headers_sealed,
       description, max_retries, retry_delay_ms, retry_ladder, retry_delays_ms, timeout_ms, rate_per_second, rate_burst,
       filter_leaving, ordering, on_failure, disabled_at, disabled_reason, discard_through, created_at, updated_at,
       case when public.lasts(overlap_until, clock_timestamp(), '7 days') then overlap_until end as overlap_until
  from public.webhooks
 where deleted_at is null;
