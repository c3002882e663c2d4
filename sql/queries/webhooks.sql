-- name: insert
insert into webhooks (id, owner_id, url, events, filter_locations, filter_categories, min_stock_threshold, secret_sealed,
                      headers_sealed, description, max_retries, retry_delay_ms, retry_ladder, retry_delays_ms, timeout_ms,
                      rate_per_second, rate_burst, ordering, on_failure, active, filter_leaving)
values (:id, :owner_id, :url, :events, :filter_locations, :filter_categories, :min_stock_threshold, :secret_sealed,
        :headers_sealed, :description, :max_retries, :retry_delay_ms, :retry_ladder, :retry_delays_ms, :timeout_ms,
        :rate_per_second, :rate_burst, :ordering, :on_failure, :active, :filter_leaving);

-- name: get
select * from shown_webhooks where id = :id;

-- name: get_to_change
select shown.*, webhooks.xmin as version
  from shown_webhooks as shown
  join webhooks using (id)
 where id = :id;

-- name: lock
-- The lock is `no key update`, because statistics refer to the webhook, and a relay that records
-- them must not wait for it.
select * from shown_webhooks where id = :id for no key update;

-- name: count_listed
-- Counts up to `most`. `owner_id` null: the webhooks of all owners.
select count(*)
  from (select
          from webhooks
         where (:owner_id::uuid is null or owner_id = :owner_id)
           and deleted_at is null and (:active::boolean is null or active = :active)
         limit :most) as counted;

-- name: list_all
-- `limit` null: all of them.
select shown.*, (select username from users where users.id = owner_id) as owner_username
  from shown_webhooks as shown
 where (:active::boolean is null or active = :active)
 order by id
offset :skip limit :limit;

-- name: list_own
select shown.*, (select username from users where users.id = owner_id) as owner_username
  from shown_webhooks as shown
 where owner_id = :owner_id and (:active::boolean is null or active = :active)
 order by id
offset :skip limit :limit;

-- name: update
update webhooks
   set url = :url, events = :events, active = :active, filter_locations = :filter_locations,
       filter_categories = :filter_categories, min_stock_threshold = :min_stock_threshold, headers_sealed = :headers_sealed,
       description = :description, max_retries = :max_retries, retry_delay_ms = :retry_delay_ms,
       retry_ladder = :retry_ladder, retry_delays_ms = :retry_delays_ms, timeout_ms = :timeout_ms,
       rate_per_second = :rate_per_second, rate_burst = :rate_burst, ordering = :ordering, on_failure = :on_failure,
       filter_leaving = :filter_leaving,
       disabled_at = case when not :active then disabled_at end,
       disabled_reason = case when not :active then disabled_reason end,
       discard_through = case when :discard::boolean
                              then greatest(discard_through, (select position from log_head))
                              else discard_through end,
       version = version + 1, updated_at = now()
 where id = :id;

-- name: secrets
-- The secret, and the previous one while both sign.
select secret_sealed, case when lasts(overlap_until, clock_timestamp(), '7 days') then previous_secret_sealed end as previous_secret_sealed
  from webhooks
 where id = :id;

-- name: rotate_secret
update webhooks
   set previous_secret_sealed = case when :overlap_seconds::integer > 0 then secret_sealed end,
       overlap_until = case when :overlap_seconds > 0 then clock_timestamp() + make_interval(secs => :overlap_seconds) end,
       secret_sealed = :secret_sealed,
       version = version + 1, updated_at = now()
 where id = :id;

-- name: delete
-- Deletes a webhook. Its discard mark becomes the largest bigint, which covers every position. So
-- the leader ends everything that is still queued for it.
with gone as (
  update webhooks
     set active = false, deleted_at = now(), discard_through = 9223372036854775807, version = version + 1, updated_at = now()
   where id = :id and xmin = :version
  returning id
)
select record_mutation(:events, :audits, :author), wake_lanes(array[id]) from gone;

-- name: wake_lane
select wake_lanes(array[:webhook_id::uuid]);

-- name: reset_health
-- Makes it that of a new webhook, except for the tokens, which belong to its rate, and the failures
-- that are still to be announced.
update receiver_health
   set failures = 0, failing_since = null, failed_events = '{}', opened_at = null, probe_at = null, failed_probes = 0,
       probe_by = null, probe_until = null, probe_position = null, pauses = 0, paused_until = null
 where webhook_id = :webhook_id;

-- name: probe_with
-- If the breaker is open, this delivery goes at once, as the probe.
update receiver_health
   set probe_position = :position
 where webhook_id = :webhook_id and opened_at is not null;

-- name: health
-- The health of the receivers. Half-open: a probe is under way, with a lease of a relay that is
-- listed.
select l.webhook_id, l.failures, l.failing_since, l.opened_at, l.probe_at,
       case when l.opened_at is null then 'closed'
            when lasts(l.probe_until, clock_timestamp(), '75 seconds') and exists (select from relays as r where r.id = l.probe_by) then 'half-open'
            else 'open' end as breaker,
       case when lasts(l.paused_until, clock_timestamp(), '25 hours') then l.paused_until end as paused_until
  from receiver_health as l
 where l.webhook_id = any (:ids::uuid[]);

-- name: known_locations
select id from locations where id = any (:ids::uuid[]);

-- name: known_categories
select id from categories where id = any (:ids::uuid[]);

-- name: statistics
-- Counts for ever, however much the log still holds. Cancelled deliveries count neither as
-- delivered nor as failed.
select webhook_id,
       coalesce(sum(ended) filter (where status = 'success'), 0)::bigint as succeeded,
       coalesce(sum(ended) filter (where status in ('failed', 'expired')), 0)::bigint as failed,
       max(last_at) filter (where status = 'success') as last_delivery,
       max(last_at) filter (where status in ('failed', 'expired')) as last_failure
  from delivery_counts
 where webhook_id = any (:ids::uuid[])
 group by webhook_id;

-- name: current
-- How many deliveries a list of each status has. Pending ones are counted up to `most`.
select (select count(*)
          from (select from deliveries where webhook_id = :webhook_id limit :most::bigint) as waiting) as pending,
       coalesce(sum(current) filter (where status = 'success'), 0)::bigint as success,
       coalesce(sum(current) filter (where status <> 'success'), 0)::bigint as failed
  from delivery_counts
 where webhook_id = :webhook_id
   and day >= ((now() - make_interval(secs => :ttl_seconds)) at time zone 'UTC')::date;

-- name: is_another
-- Whether the log has another event at a position, or no event where there should be one.
select case when found.id is not null then found.id <> :event_id::uuid
            else :position::bigint > head.position or :position >= (select min(position) from events) end
  from log_head as head
  left join lateral (select id from events where position = :position) as found on true;

-- name: list_deliveries
-- A page of deliveries, newest first. A reader who may no longer read an event's subject sees that
-- there was an event, but not its data.
-- There are three sources. Each is read from an index of its own, newest first, and no further than
-- the end of the page. A pending delivery, or an end without a request, shows the request before
-- it.
with page as (
  (select position, event_id, event_type, event_at, 'pending' as status, attempts as attempt, next_attempt_at,
          null::timestamptz as started_at, null::integer as http_status, null::bytea as response_body, null::text as error,
          sequence
     from deliveries
    where webhook_id = :webhook_id and position < :before and :with_pending::boolean
    order by position desc
    limit :skip::bigint + :limit::bigint)
  union all
  (select position, event_id, event_type, event_at, 'success', attempt, null, started_at, status, response_body, error,
          sequence
     from attempts
    where webhook_id = :webhook_id and position < :before and :with_success::boolean
      and outcome = 'success' and retried_at is null
      and recorded_at >= date_trunc('day', now() - make_interval(secs => :ttl_seconds), 'UTC')
    order by position desc
    limit :skip::bigint + :limit::bigint)
  union all
  (select position, event_id, event_type, event_at, 'failed', attempt, null, started_at, status, response_body, error,
          sequence
     from attempts
    where webhook_id = :webhook_id and position < :before and :with_failed::boolean
      and outcome in ('failed', 'cancelled', 'expired') and retried_at is null
      and recorded_at >= date_trunc('day', now() - make_interval(secs => :ttl_seconds), 'UTC')
    order by position desc
    limit :skip::bigint + :limit::bigint)
  order by position desc
  offset :skip::bigint
  limit :limit::bigint
)
select page.position, page.event_id, page.event_type, page.status, page.attempt, page.next_attempt_at, page.sequence, event.data,
       coalesce(event.occurred_at, uuid_time(page.event_id)) as occurred_at,
       coalesce(page.started_at, before.started_at) as started_at,
       case when page.started_at is null then before.status else page.http_status end as http_status,
       case when page.started_at is null then before.response_body else page.response_body end as response_body,
       case when page.status = 'pending' then before.error else page.error end as error
  from page
  left join lateral (
    select case when may_read(:role::text, :user_id::uuid, audience, location_ids, user_ids) then data end as data, occurred_at
      from events
     where position = page.position and recorded_at = page.event_at
  ) as event on true
  left join lateral (
    select started_at, status, response_body, error
      from attempts
     where page.started_at is null
       and webhook_id = :webhook_id and position = page.position and recorded_at >= page.event_at
       and started_at is not null and outcome <> 'superseded'
     order by recorded_at desc, attempt desc
     limit 1
  ) as before on true
 order by page.position desc;

-- name: get_delivery
-- One delivery, with the columns of list_deliveries.
select event.position, event.recorded_at as event_at, event.id as event_id, event.type as event_type,
       case when may_read(:role::text, :user_id::uuid, event.audience, event.location_ids, event.user_ids)
            then event.data end as data,
       event.occurred_at, queued.next_attempt_at, coalesce(queued.attempts, ended.attempt) as attempt,
       coalesce(queued.sequence, ended.sequence) as sequence,
       case when queued.position is not null then 'pending'
            when ended.outcome = 'success' then 'success'
            else 'failed' end as status,
       sent.started_at, sent.status as http_status, sent.response_body,
       case when queued.position is not null then sent.error else ended.error end as error
  from events as event
  left join deliveries as queued on queued.webhook_id = :webhook_id and queued.position = event.position
  left join lateral (
    select outcome, attempt, error, sequence
      from attempts
     where webhook_id = :webhook_id and position = event.position and recorded_at >= event.recorded_at
       and outcome in ('success', 'failed', 'cancelled', 'expired') and retried_at is null
     limit 1
  ) as ended on true
  left join lateral (
    select started_at, status, response_body, error
      from attempts
     where webhook_id = :webhook_id and position = event.position and recorded_at >= event.recorded_at
       and started_at is not null and outcome <> 'superseded'
     order by recorded_at desc, attempt desc
     limit 1
  ) as sent on true
 where event.id = :event_id and (queued.position is not null or ended.outcome is not null)
 order by queued.position is not null desc, event.position desc
 limit 1;

-- name: list_attempts
-- The latest attempts, by their numbers. An end without a request has the number of the attempt
-- before it. They are not ordered by started_at, because each relay computes that by its own clock.
select attempt, outcome, started_at, recorded_at, url, request_headers, status, response_headers, response_body, error,
       next_attempt_at, dns_us, connect_us, tls_us, first_byte_us, total_us, sequence
  from attempts
 where webhook_id = :webhook_id and position = :position and recorded_at >= :event_at
 order by attempt desc, recorded_at desc
 limit :most;

-- name: find_delivery
-- The event with this id, and whether this webhook has a delivery of it, pending or ended. An id
-- names one event.
select event.position, event.recorded_at as event_at, event.type as event_type,
       event.recorded_at < now() - make_interval(secs => :ttl_seconds) as expired,
       exists (select from deliveries as d
                where d.webhook_id = :webhook_id and d.position = event.position) as pending,
       exists (select from attempts as a
                where a.webhook_id = :webhook_id and a.position = event.position
                  and a.recorded_at >= event.recorded_at) as attempted
  from events as event
 where event.id = :event_id
 order by pending desc, attempted desc, event.position desc
 limit 1;

-- name: end_discard
select end_discard(:webhook_id);

-- name: put_back
-- Puts an ended delivery back into the queue. Its end is marked as retried, its count is taken
-- back, and it waits again under a fresh policy. If two transactions do this at the same time, the
-- second waits for the first's row and then finds it retried. A delivery that stands in an item's
-- order keeps its number and waits for its turn.
with reopened as (
  update attempts
     set retried_at = now()
   where webhook_id = :webhook_id and position = :position and recorded_at >= :event_at
     and outcome in ('success', 'failed', 'cancelled', 'expired') and retried_at is null
  returning webhook_id, position, event_id, event_type, event_at, attempt, outcome, recorded_at, item_id, sequence
),
counted as (
  update delivery_counts as c
     set current = c.current - 1
    from reopened as r
   where c.webhook_id = r.webhook_id
     and c.day = (r.recorded_at at time zone 'UTC')::date
     and c.status = r.outcome
)
insert into deliveries (webhook_id, position, event_id, event_type, event_at, attempts, attempts_before, item_id, sequence,
                        next_attempt_at)
select webhook_id, position, event_id, event_type, event_at, attempt, attempt, item_id, sequence,
       case when sequence is null then now() end
  from reopened
returning attempts;

-- name: insert_test
insert into webhook_tests (webhook_id, expires_at)
values (:webhook_id, clock_timestamp() + make_interval(secs => :wait_ms / 1000.0))
returning id;

-- name: read_test
select finished_at is not null as finished, not lasts(expires_at, clock_timestamp(), '75 seconds') as expired, claimed_by is not null as claimed,
       status, error
  from webhook_tests
 where id = :id;
