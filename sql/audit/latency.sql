-- Lists the times that deliveries took, in milliseconds, by webhook: from the event to its first
-- attempt, from the event to its delivery, and for the exchange with the receiver alone.
--   psql "$DATABASE_URL" -v since='15 minutes' -f sql/audit/latency.sql

set search_path = public, pg_temp;

\if :{?since}
\else
  \set since '1 hour'
\endif

select w.url,
       count(*) filter (where a.outcome = 'success') as delivered,
       count(*) filter (where a.outcome <> 'success') as not_delivered,
       round(percentile_cont(0.5) within group (order by ms.to_first_attempt)::numeric, 1) as first_attempt_p50,
       round(percentile_cont(0.99) within group (order by ms.to_first_attempt)::numeric, 1) as first_attempt_p99,
       round(percentile_cont(0.5) within group (order by ms.to_delivery)::numeric, 1) as delivery_p50,
       round(percentile_cont(0.99) within group (order by ms.to_delivery)::numeric, 1) as delivery_p99,
       round(percentile_cont(0.5) within group (order by ms.exchange)::numeric, 1) as exchange_p50,
       round(percentile_cont(0.99) within group (order by ms.exchange)::numeric, 1) as exchange_p99,
       round(max(ms.exchange)::numeric, 1) as exchange_max
  from attempts as a
  join events as e on e.position = a.position and e.recorded_at = a.event_at
  join webhooks as w on w.id = a.webhook_id
 cross join lateral (
   select extract(epoch from a.started_at - e.occurred_at) * 1000 as began,
          a.total_us / 1000.0 as exchange
 ) as raw
 cross join lateral (
   select raw.exchange,
          case when a.attempt = 1 then raw.began end as to_first_attempt,
          case when a.outcome = 'success' then raw.began + raw.exchange end as to_delivery
 ) as ms
 where a.recorded_at > now() - :'since'::interval and a.started_at is not null
 group by w.url
 order by delivered desc, w.url;
