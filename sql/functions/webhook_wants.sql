-- Whether an event is for a webhook: its type, each filter, and what the webhook's owner may read.
-- A filter on a property applies only to events that have the property; others pass it. Whether the
-- webhook is active does not matter here. Fan-out, replays and the stream all call this function,
-- so they cannot differ.
-- PostgreSQL inlines a function's expression only if it holds no subquery, and may_read holds one.
-- So the common answers come first: for most webhooks of most events, may_read is never called.
create or replace function public.webhook_wants(
  webhook public.webhooks, owner_role text, event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
  stock bigint
) returns boolean
language sql stable parallel safe
as $$
  select event_type = any (webhook.events)
     and (webhook.filter_locations = '{}' or location_ids = '{}' or location_ids && webhook.location_keys)
     and (webhook.filter_categories = '{}' or category_id is null or category_id = any (webhook.filter_categories))
     and (webhook.min_stock_threshold is null or event_type <> 'low-stock-alert' or stock < webhook.min_stock_threshold)
     and (owner_role = 'admin' or (audience = 'inventory' and owner_role <> 'foreman')
          or public.may_read(owner_role, webhook.owner_id, audience, location_ids, user_ids))
$$;
