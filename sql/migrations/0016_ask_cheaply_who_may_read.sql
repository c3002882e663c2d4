-- PostgreSQL puts a function's expression into the statement that calls it only if it holds no subquery, and may_read does. So the
-- common answers are given before it is called: for most webhooks of most events it never is.

create or replace function webhook_wants(
  webhook webhooks, owner_role text, event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
  stock bigint
) returns boolean
language sql stable parallel safe
as $$
  select event_type = any (webhook.events)
     and (webhook.filter_locations = '{}' or location_ids = '{}' or location_ids && webhook.filter_locations)
     and (webhook.filter_categories = '{}' or category_id is null or category_id = any (webhook.filter_categories))
     and (webhook.min_stock_threshold is null or event_type <> 'low-stock-alert' or stock < webhook.min_stock_threshold)
     and (owner_role = 'admin' or (audience = 'inventory' and owner_role <> 'foreman')
          or may_read(owner_role, webhook.owner_id, audience, location_ids, user_ids))
$$;
