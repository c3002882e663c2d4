-- Replays, and one place for the rule that says what a webhook wants: fan-out, replays and the pull cursor all ask it, so that
-- none of them can come to differ from the others.

-- Whether an event is for a webhook: its type, each filter, and what the webhook's owner may read. A filter speaks only of
-- events that carry what it filters on. Says nothing of whether the webhook is active.
create function webhook_wants(
  webhook webhooks, owner_role text, event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
  stock bigint
) returns boolean
language sql stable parallel safe
as $$
  select event_type = any (webhook.events)
     and (webhook.filter_locations = '{}' or location_ids = '{}' or location_ids && webhook.filter_locations)
     and (webhook.filter_categories = '{}' or category_id is null or category_id = any (webhook.filter_categories))
     and (webhook.min_stock_threshold is null or event_type <> 'low-stock-alert' or stock < webhook.min_stock_threshold)
     and may_read(owner_role, webhook.owner_id, audience, location_ids, user_ids)
$$;

comment on column events.deliveries is
  'How many webhooks it has been queued for: when it was fanned out, and since then by replays to webhooks that had missed it.';

-- A range of the log that is to be sent to a webhook again. The relay's leader works through it in batches.
create table replay_jobs (
  id         uuid        not null default uuidv7() primary key,
  webhook_id uuid        not null references webhooks on delete cascade,
  state      text        not null default 'queued' check (state in ('queued', 'running', 'done', 'cancelled', 'failed')),
  -- When the events happened: from since on, before until.
  since      timestamptz not null check (isfinite(since)),
  until      timestamptz not null check (isfinite(until)),
  wanted     text        not null check (wanted in ('failed', 'success', 'missing', 'all')),
  -- Null: any type.
  types      text[]      check (cardinality(types) > 0),
  -- The log has been worked through up to position, and will be up to through. Both move in the transaction that queues.
  position   bigint      not null,
  through    bigint      not null,
  -- What matched when the job was made; null if that took too long to count.
  total      bigint      check (total >= 0),
  done       bigint      not null default 0 check (done >= 0),
  error      text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at   timestamptz,
  check (since < until),
  check (position <= through),
  constraint replay_jobs_started_check check (
    case state when 'queued' then started_at is null when 'running' then started_at is not null
               when 'done' then started_at is not null else true end),
  constraint replay_jobs_ended_check check ((state in ('done', 'cancelled', 'failed')) = (ended_at is not null)),
  constraint replay_jobs_complete_check check (state <> 'done' or position = through),
  constraint replay_jobs_error_check check ((state = 'failed') = (error is not null))
);
create index replay_jobs_webhook_id on replay_jobs (webhook_id, created_at);
create index replay_jobs_open on replay_jobs (created_at) where state in ('queued', 'running');
create index replay_jobs_ended_at on replay_jobs (ended_at) where ended_at is not null;

-- What of a stretch of the log can be sent to a webhook again. `outcome`, `attempt` and `ended_at` are those of the end of its
-- delivery; null where it was never queued for this webhook, which wants it today. What is pending is left out, and so is what
-- the owner may not read now. The two kinds of end are asked for apart: each has an index of its own.
create function replayable(
  webhook uuid, after_position bigint, through_position bigint, since timestamptz, until timestamptz, wanted text,
  types text[], log_from timestamptz
) returns table (
  event_position bigint, event_id uuid, event_type text, event_at timestamptz, occurred_at timestamptz,
  outcome text, attempt integer, ended_at timestamptz
)
language sql stable parallel safe
as $$
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at
    from webhooks as w
    join users as u on u.id = w.owner_id
    join attempts as a on a.webhook_id = w.id
    join events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('failed', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome in ('failed', 'cancelled', 'expired') and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at
    from webhooks as w
    join users as u on u.id = w.owner_id
    join attempts as a on a.webhook_id = w.id
    join events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('success', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome = 'success' and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, null, null, null
    from webhooks as w
    join users as u on u.id = w.owner_id
   cross join events as e
   where w.id = webhook and wanted in ('missing', 'all')
     and e.position > after_position and e.position <= through_position
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and webhook_wants(w, u.role, e.type, e.audience, e.location_ids, e.category_id, e.user_ids, e.stock)
     and not exists (select from deliveries as d where d.webhook_id = w.id and d.position = e.position)
     and not exists (select from attempts as a
                      where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at)
$$;
