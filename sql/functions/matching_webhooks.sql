-- The webhooks that an event goes to, and which of their deliveries may be leased at once. So the
-- rules of fan-out are here: which webhooks match, and which deliveries need no claim. A delivery
-- is not leased here if its lane has a rate, a pause or an open breaker, asks for order, or is
-- crowded, or if its owner is parked or crowded.
-- Trap: PostgreSQL inlines this function into the statement that calls it. `offset 0` keeps the
-- lookups in their order, and `select …` instead of `exists` keeps it from reading all lanes.
create or replace function public.matching_webhooks(
  event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[], stock bigint,
  relay_id uuid, crowded uuid[]
) returns table (webhook_id uuid, ordering text, timeout_ms integer, version bigint, leasable boolean)
language sql stable parallel safe
as $$
  select w.id, w.ordering, w.timeout_ms, w.version, w.leasable
    from public.subscribed(event_type, location_ids, category_id) as s
   cross join lateral (
     select w.id, w.ordering, w.timeout_ms, w.version,
            exists (select from public.relays as r where r.id = relay_id)
            and w.ordering is null and w.rate_per_second is null and u.status = 'active'
            and w.id <> all (crowded) and w.owner_id <> all (crowded)
            and (select l.opened_at is null and l.pauses = 0 from public.receiver_health as l where l.webhook_id = w.id) as leasable
       from public.webhooks as w
       join public.users as u on u.id = w.owner_id
      where w.id = s.webhook_id
        and w.active
        and w.deleted_at is null
        and public.webhook_wants(w, u.role, event_type, audience, location_ids, category_id, user_ids, stock)
     offset 0
   ) as w
$$;
