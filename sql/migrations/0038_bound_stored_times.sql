-- A clock that was wrong for a moment leaves times behind that nothing set on purpose. Whoever reads one needs to know how late it may
-- be at most, or when it was written: what was written in a future that has not come was written by a clock that was ahead.

-- Whether something still lasts. Nothing can last longer than `longest` from now: a later end was set by a clock that was ahead. `now`
-- may be when a slow statement began: an end that was set since then lasts as well.
-- (No search_path of its own, which would keep it from being inlined: it names nothing but operators.)
create function lasts(until timestamptz, now timestamptz, longest interval) returns boolean
language sql volatile parallel safe
as $$
  select until > now and until <= greatest(now, clock_timestamp()) + longest
$$;

alter table deliveries add column scheduled_at timestamptz not null default now();
comment on column deliveries.scheduled_at is 'When next_attempt_at was written.';

alter table lanes add column changed_at timestamptz not null default now();
comment on column lanes.changed_at is 'When the breaker''s and the pause''s times were written.';

-- Which of two backends a relay listens on is the newer one: their start times are no order where the clock was set back.
alter table relays add column listen_number bigint not null default 0;

-- Where the log ended when a webhook was made. Its stream begins there; by the time of creation it might begin later, or never.
create function log_end() returns bigint
language sql stable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
  select position from public.log_head
$$;

alter table webhooks add column log_position bigint;
alter table webhooks alter column log_position set default log_end();
comment on column webhooks.log_position is 'Where the log ended when the webhook was made; null for those made before this was kept.';
