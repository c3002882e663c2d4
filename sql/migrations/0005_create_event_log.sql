-- The way of an event: two queues that empty (outbox, deliveries) and two logs that only grow (events, attempts).

create table outbox (
  seq          bigint      generated always as identity (cache 1) primary key,
  id           uuid        not null default uuidv7() unique,
  type         text        not null check (type ~ '^[a-z][a-z0-9-]{0,62}[a-z0-9]$'),
  -- text, never jsonb: these bytes are what is signed and sent.
  data         text        not null check (json_typeof(data::json) = 'object' and octet_length(data) <= 65000),
  occurred_at  timestamptz not null default clock_timestamp() check (isfinite(occurred_at)),
  -- The places that the event concerns, where its data does not say so. Null: read from data.
  location_ids uuid[],
  traceparent  text        check (char_length(traceparent) <= 64),
  written_at   timestamptz not null default clock_timestamp(),
  -- Against the row's own time and not the clock, so that a backup with rows in it can be restored on another day.
  constraint outbox_id_time_check check (
    uuid_time(id) between written_at - interval '1 day' and written_at + interval '1 day')
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
        autovacuum_vacuum_cost_delay = 0);

create trigger outbox_ring after insert on outbox
  for each statement execute function ring_after_statement();

-- Rows of the outbox that could not be fanned out, as they were, with the reason.
create table set_aside (
  seq          bigint      not null primary key,
  id           uuid        not null,
  type         text        not null,
  data         text        not null,
  occurred_at  timestamptz not null,
  location_ids uuid[],
  traceparent  text,
  written_at   timestamptz not null,
  reason       text        not null,
  set_aside_at timestamptz not null default now()
);
create index set_aside_id on set_aside (id);

-- One row: the position of the newest event in the log. Positions have no gap, and they are the only order to read the log by.
create table log_head (
  only_row boolean not null default true primary key check (only_row),
  position bigint  not null default 0
);
insert into log_head default values;

create table events (
  position     bigint      not null,
  id           uuid        not null,
  seq          bigint      not null,
  type         text        not null,
  data         text        not null,
  occurred_at  timestamptz not null,
  -- What webhooks are matched by: read from data, or given with the outbox row.
  audience     text        not null check (audience in ('inventory', 'transfer', 'checkout', 'user', 'other')),
  location_ids uuid[]      not null,
  category_id  uuid,
  user_ids     uuid[]      not null,
  stock        bigint,
  traceparent  text,
  -- How many webhooks it was queued for when it was fanned out.
  deliveries   integer     not null,
  recorded_at  timestamptz not null default now(),
  primary key (position, recorded_at)
) partition by range (recorded_at);
create index events_id on events (id);

-- Whether a webhook's owner may read what an event is about. `audience` says what kind of thing that is.
create function may_read(role text, owner_id uuid, audience text, location_ids uuid[], user_ids uuid[]) returns boolean
language sql stable parallel safe
as $$
  select case
    when role = 'admin' then true
    when audience = 'inventory' then
      role <> 'foreman' or location_ids = '{}'
      or exists (select from location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids))
    when audience in ('transfer', 'checkout') then
      role = 'supervisor' or owner_id = any (user_ids)
      or (role = 'foreman'
          and exists (select from location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids)))
    when audience = 'user' then owner_id = any (user_ids)
    else false
  end
$$;

create sequence fences;

create table deliveries (
  -- No foreign key: it would lock the webhook's row for each delivery. Webhooks are never removed while they have deliveries.
  webhook_id      uuid        not null,
  position        bigint      not null,
  event_id        uuid        not null,
  event_type      text        not null,
  -- The event's recorded_at: with it, its row is found in one partition.
  event_at        timestamptz not null,
  next_attempt_at timestamptz not null default now(),
  -- Results recorded, ever, and how many of them came before the last manual retry began a fresh policy.
  attempts        integer     not null default 0 check (attempts >= 0),
  attempts_before integer     not null default 0 check (attempts_before between 0 and attempts),
  -- A lease is void when it has run out, or when its relay is no longer listed in relays.
  leased_by       uuid,
  lease_until     timestamptz,
  fence           bigint,
  -- Leases that ended without a result, and the relay that held the last of them.
  lost_leases     integer     not null default 0 check (lost_leases >= 0),
  lost_by         uuid,
  created_at      timestamptz not null default now(),
  primary key (webhook_id, position),
  constraint deliveries_lease_check check (
    (leased_by is null) = (lease_until is null) and (leased_by is null) = (fence is null))
) with (fillfactor = 70,
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
        autovacuum_vacuum_cost_delay = 0);
-- Lanes: the first entry of a webhook is its soonest delivery. No column of the lease is indexed, so a claim stays in its page.
create index deliveries_lane on deliveries (webhook_id, next_attempt_at);

create table attempts (
  webhook_id       uuid        not null,
  position         bigint      not null,
  event_id         uuid        not null,
  event_type       text        not null,
  event_at         timestamptz not null,
  -- The number sent in the envelope; for an end without a request, the number of results before it.
  attempt          integer     not null check (attempt >= 0),
  outcome          text        not null
                   check (outcome in ('success', 'retry', 'failed', 'superseded', 'cancelled', 'expired')),
  -- Set on an end (success, failed, cancelled, expired) when a manual retry has put the delivery back into the queue.
  retried_at       timestamptz,
  next_attempt_at  timestamptz,
  relay_id         uuid,
  fence            bigint,
  lost_by          uuid,
  url              text,
  request_headers  json,
  started_at       timestamptz,
  dns_us           integer,
  connect_us       integer,
  tls_us           integer,
  first_byte_us    integer,
  total_us         integer,
  status           integer,
  -- Bytes, as they came: one NUL in a text would refuse the batch.
  response_headers bytea,
  response_body    bytea,
  error            text,
  recorded_at      timestamptz not null default now(),
  check ((outcome = 'retry') = (next_attempt_at is not null))
) partition by range (recorded_at);
create index attempts_delivery on attempts (webhook_id, position);
-- Ends, newest first. Two indexes, so that the few failures among many successes are found without reading those, and the other way round.
create index attempts_successes on attempts (webhook_id, position desc)
  where outcome = 'success' and retried_at is null;
create index attempts_failures on attempts (webhook_id, position desc)
  where outcome in ('failed', 'cancelled', 'expired') and retried_at is null;

-- Finds out, for next to nothing a row, whether anything still refers to an old partition of events.
create index attempts_event_at on attempts using brin (event_at) with (pages_per_range = 32, autosummarize = on);

-- Deliveries that ended, by the day (UTC) of their end. ended counts each end for ever; current is what of them is in the log and
-- has not been put back into the queue by a manual retry.
create table delivery_counts (
  webhook_id uuid        not null references webhooks on delete cascade,
  day        date        not null,
  status     text        not null check (status in ('success', 'failed', 'cancelled', 'expired')),
  ended      bigint      not null default 0,
  current    bigint      not null default 0,
  last_at    timestamptz not null,
  primary key (webhook_id, day, status)
) with (fillfactor = 70);

-- Lanes that somebody other than fan-out gave something to do: a manual retry, a webhook made active, a test.
create table lane_wakes (
  webhook_id uuid not null
);
create trigger lane_wakes_ring after insert on lane_wakes
  for each statement execute function ring_after_statement();

-- A test is one attempt that a relay makes and the API waits for, outside the queue.
create table webhook_tests (
  id           uuid        not null default uuidv7() primary key,
  webhook_id   uuid        not null references webhooks on delete cascade,
  requested_at timestamptz not null default now(),
  expires_at   timestamptz not null,
  claimed_by   uuid,
  finished_at  timestamptz,
  status       integer,
  error        text
);
create index webhook_tests_open on webhook_tests (requested_at) where claimed_by is null;

-- Relays that are alive: each refreshes its row every second; one that is too old is removed, and its leases with it.
create table relays (
  id           uuid        not null primary key,
  started_at   timestamptz not null default now(),
  seen_at      timestamptz not null default now(),
  version      text        not null,
  host         text        not null,
  pid          integer     not null,
  leader       boolean     not null default false,
  -- The backend that holds the leader's locks, so that a stopped leader's can be ended.
  listen_pid   integer,
  listen_start timestamptz,
  in_flight    integer     not null default 0,
  delivered    bigint      not null default 0,
  attempted    bigint      not null default 0,
  poll_wakes   bigint      not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Who did what to what, when, from where, and which events it wrote.
create table audit (
  id         uuid        not null default uuidv7() primary key,
  at         timestamptz not null default now(),
  actor_id   uuid,
  action     text        not null,
  entity     text        not null,
  entity_id  uuid        not null,
  before     json,
  after      json,
  ip_address text,
  request_id text,
  event_ids  uuid[]      not null default '{}'
);
create index audit_at on audit (at);
create index audit_entity on audit (entity, entity_id, at);

-- Makes the partitions of both logs for today and the days ahead. As its owner, so that the relay's role need own nothing.
create function make_partitions(days_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  parent text;
  day    date;
  child  text;
  made   integer := 0;
begin
  foreach parent in array array['events', 'attempts'] loop
    for day in select current_date + n from generate_series(0, days_ahead) as n loop
      child := parent || '_' || to_char(day, 'YYYYMMDD');
      if to_regclass('public.' || child) is null then
        -- Attached, not created in place: that takes a lock which reads and writes of the parent go on under.
        execute format('create table public.%I (like public.%I including defaults including constraints)', child, parent);
        execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
                       parent, child, day::timestamptz, (day + 1)::timestamptz);
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end
$$;

-- Drops the partitions that ended before the given moment. An events partition stays while an attempts partition or the queue
-- refers to it. Returns the names.
create function drop_partitions(ended_before timestamptz) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  child  record;
begin
  for child in
    select part.relname as name, parent.relname as parent,
           to_date(right(part.relname, 8), 'YYYYMMDD')::timestamptz as day
      from pg_inherits
      join pg_class part on part.oid = inhrelid
      join pg_class parent on parent.oid = inhparent
     where inhparent in ('public.attempts'::regclass, 'public.events'::regclass)
     order by parent.relname, part.relname
  loop
    if child.day + interval '1 day' <= ended_before then
      continue when child.parent = 'events' and (
        exists (select from public.deliveries where event_at < child.day + interval '1 day')
        or exists (select from public.attempts where event_at < child.day + interval '1 day'));
      execute format('drop table public.%I', child.name);
      return next child.name;
    end if;
  end loop;
end
$$;

select make_partitions(7);
