-- What the relays know of each webhook's lane besides its queue: its breaker, its pauses, its rate. In a table of its own, as it
-- changes with the attempts and a webhook with its owner; a row for each webhook, so that a claim need not make one.

alter table webhooks
  add column rate_per_second integer check (rate_per_second between 1 and 10000),
  add column rate_burst      integer check (rate_burst between 1 and 10000),
  -- Set where a relay made it inactive: the receiver answered 410, or had failed for too long.
  add column disabled_at     timestamptz,
  add column disabled_reason text check (char_length(disabled_reason) <= 500),
  add constraint webhooks_rate_check check ((rate_per_second is null) = (rate_burst is null)),
  add constraint webhooks_disabled_check check (
    (disabled_at is null) = (disabled_reason is null) and (disabled_at is null or not active));

create table lanes (
  webhook_id     uuid        not null primary key references webhooks on delete cascade,
  -- Attempts that failed since the last that succeeded, when the first of them was recorded, and the positions of the first
  -- few events that they were about.
  failures       integer     not null default 0 check (failures >= 0),
  failing_since  timestamptz,
  failed_events  bigint[]    not null default '{}' check (cardinality(failed_events) <= 3),
  -- The breaker. Closed: opened_at is null. Open: nothing is sent before probe_at. Half-open: a probe is out, which is a lease of
  -- probe_by's until probe_until.
  opened_at      timestamptz,
  probe_at       timestamptz,
  failed_probes  integer     not null default 0 check (failed_probes >= 0),
  probe_by       uuid,
  probe_until    timestamptz,
  -- A manual retry: the delivery that goes as the next probe, whatever probe_at says.
  probe_position bigint,
  -- The receiver asked for fewer requests (429, 502, 503, 504, Retry-After): how often in a row, and until when it is left alone.
  pauses         integer     not null default 0 check (pauses >= 0),
  paused_until   timestamptz,
  -- The token bucket of webhooks.rate_per_second, as it was at tokens_at; null: full.
  tokens         float8      check (tokens >= 0),
  tokens_at      timestamptz,
  -- Deliveries that failed for good and that no delivery-failed event has told of yet, and when the last one was written.
  unannounced    integer     not null default 0 check (unannounced >= 0),
  -- How many of those were stepped over, so that the next event of their item could go.
  unannounced_skips integer  not null default 0 check (unannounced_skips between 0 and unannounced),
  announced_at   timestamptz,
  constraint lanes_failing_check check (
    (failures = 0) = (failing_since is null) and (failures > 0 or failed_events = '{}')),
  constraint lanes_breaker_check check (
    (opened_at is null) = (probe_at is null)
    and (probe_by is null) = (probe_until is null)
    and (opened_at is not null or (probe_by is null and probe_position is null and failed_probes = 0))
    and (opened_at is null or failures > 0)),
  constraint lanes_pause_check check (pauses > 0 or paused_until is null),
  constraint lanes_bucket_check check ((tokens is null) = (tokens_at is null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

insert into lanes (webhook_id) select id from webhooks;

create function open_lane() returns trigger
language plpgsql
as $$
begin
  insert into lanes (webhook_id) values (new.id);
  return null;
end
$$;

create trigger webhooks_open_lane after insert on webhooks
  for each row execute function open_lane();
