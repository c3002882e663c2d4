-- name: lock
-- The health of the receivers of these webhooks. It is locked in the order of ids, so that two
-- relays never wait for each other.
select l.webhook_id, l.failures, l.failing_since, l.failed_events, l.opened_at, l.probe_at, l.failed_probes, l.probe_by,
       l.probe_until, l.probe_position, l.pauses, l.paused_until, w.url, w.owner_id, w.active, w.version, clock_timestamp() as now
  from receiver_health as l
  join webhooks as w on w.id = l.webhook_id
 where l.webhook_id = any (:webhook_ids::uuid[])
 order by l.webhook_id
   for no key update of l;

-- name: begin_anew
-- Replaces health that cannot be settled by that of a receiver that is well.
update receiver_health
   set failures = 0, failing_since = null, failed_events = '{}', opened_at = null, probe_at = null, failed_probes = 0, probe_by = null,
       probe_until = null, probe_position = null, pauses = 0, paused_until = null, unannounced = 0, unannounced_skips = 0
 where webhook_id = :webhook_id;

-- name: save
update receiver_health as l
   set failures = n.failures, failing_since = n.failing_since, failed_events = n.failed_events::bigint[],
       opened_at = n.opened_at, probe_at = n.probe_at, failed_probes = n.failed_probes, probe_by = n.probe_by,
       probe_until = n.probe_until, probe_position = n.probe_position, pauses = n.pauses, paused_until = n.paused_until,
       changed_at = clock_timestamp(), unannounced = l.unannounced + n.failed,
       unannounced_skips = l.unannounced_skips + n.skipped
  from unnest(:webhook_ids::uuid[], :failures::int[], :failing_sinces::timestamptz[], :failed_events::text[],
              :opened_ats::timestamptz[], :probe_ats::timestamptz[], :failed_probes::int[], :probe_bys::uuid[],
              :probe_untils::timestamptz[], :probe_positions::bigint[], :pauses::int[], :paused_untils::timestamptz[],
              :failed::int[], :skipped::int[])
       as n (webhook_id, failures, failing_since, failed_events, opened_at, probe_at, failed_probes, probe_by, probe_until,
             probe_position, pauses, paused_until, failed, skipped)
 where l.webhook_id = n.webhook_id;

-- name: disable
-- Disables a webhook. Its pending deliveries stay queued and are not claimed, as when its owner
-- makes it inactive. Its health stays, too, and begins anew when the webhook is made active again.
-- Trap: this transaction has locked the health. A transaction that changes a webhook locks the
-- webhook first. So this one must not wait for the webhook: if it is locked, nothing is done until
-- the next failure.
update webhooks
   set active = false, disabled_at = now(), disabled_reason = :reason, version = version + 1, updated_at = now()
 where id = (select w.id from webhooks as w
              where w.id = :webhook_id and w.active and w.deleted_at is null
                for no key update skip locked)
returning id;

-- name: take_announcements
-- The failures for the next delivery-failed events: at most one event for each webhook and minute,
-- with a count. `webhook_ids` null: of all webhooks.
with due as (
  select webhook_id, unannounced, unannounced_skips
    from receiver_health
   where unannounced > 0
     and (announced_at is null or announced_at not between now() - interval '1 minute' and now())
     and (:webhook_ids::uuid[] is null or webhook_id = any (:webhook_ids))
   order by webhook_id
     for no key update
),
announced as (
  update receiver_health as l
     set unannounced = 0, unannounced_skips = 0, announced_at = now()
    from due
   where l.webhook_id = due.webhook_id
)
select due.webhook_id, due.unannounced, due.unannounced_skips, w.url, w.owner_id, last.event_id, last.event_type, last.error, clock_timestamp() as now
  from due
  join webhooks as w on w.id = due.webhook_id
  left join lateral (
    select event_id, event_type, error
      from attempts
     where webhook_id = due.webhook_id and outcome = 'failed' and retried_at is null
       and recorded_at >= now() - interval '1 day'
     order by position desc
     limit 1
  ) as last on true
 where w.deleted_at is null;

-- name: write_notices
insert into outbox (type, data, audience, location_ids, category_id, user_ids, stock, item_id)
select type, data, audience, locations::uuid[], category_id, users::uuid[], stock, item_id
  from unnest(:types::text[], :datas::text[], :audiences::text[], :locations::text[], :categories::uuid[], :users::text[],
              :stocks::bigint[], :items::uuid[])
       as n (type, data, audience, locations, category_id, users, stock, item_id);
