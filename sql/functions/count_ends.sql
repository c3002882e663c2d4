-- Counts deliveries that have ended in the statistics of their webhooks, and returns how many. The
-- three arrays hold, for each delivery, its webhook, its outcome and when it was logged.
--
-- These statements of sql/queries, named as file.statement, write the statistics, the table
-- delivery_counts:
-- * record.record: a relay recorded a result that ends its delivery; it repeats this function
-- * give_up.give_up: calls this: a delivery cannot be worked on, and fails
-- * fanout.end_ahead: calls this: a delivery ahead of the log, or of its item's order, fails
-- * retention.cancel_discarded: calls this: a webhook was deleted, or its backlog dropped, and its
--   deliveries are cancelled
-- * retention.expire: calls this: an event is older than the log keeps, and its deliveries expire
-- * webhooks.put_back: an ended delivery is retried by hand: lowers `current`, not `ended`
-- * replay.advance: a replay queues an ended delivery again: lowers `current`, not `ended`
-- * retention.fold_counts: the days that the log does not keep any more are summed
create or replace function public.count_ends(webhook_ids uuid[], outcomes text[], recorded_ats timestamptz[])
returns bigint
language plpgsql volatile
as $$
begin
  insert into public.delivery_counts (webhook_id, day, status, ended, current, last_at)
  select logged.webhook_id, (logged.recorded_at at time zone 'UTC')::date, logged.outcome, count(*), count(*),
         max(logged.recorded_at)
    from unnest(webhook_ids, outcomes, recorded_ats) as logged (webhook_id, outcome, recorded_at)
   group by 1, 2, 3
   -- psql may have deleted the webhook's row. Then nothing is counted for it.
  having exists (select from public.webhooks as w where w.id = logged.webhook_id)
   -- In the order of the key, so that two relays never wait for each other.
   order by 1, 2, 3
  on conflict (webhook_id, day, status) do update
     set ended = delivery_counts.ended + excluded.ended,
         current = delivery_counts.current + excluded.current,
         last_at = greatest(delivery_counts.last_at, excluded.last_at);
  return coalesce(cardinality(webhook_ids), 0);
end
$$;
