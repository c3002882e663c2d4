-- The schema that sql/migrations, sql/functions and sql/views add up to. Made by `make schema`; a test
-- compares it with a migrated database.
-- Left out: the daily partitions of events and attempts, which make_partitions() makes, and the rows of
-- log_head, epoch, schema_migrations and schema_definitions.

set check_function_bodies = false;

CREATE FUNCTION public.uuidv7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
  select encode(
    overlay(uuid_send(gen_random_uuid())
            -- 48 bits of milliseconds, the version, and 12 bits for the part of a millisecond.
            placing int8send((us / 1000) << 16 | x'7000'::bigint | (us % 1000) * 4096 / 1000)
            from 1 for 8),
    'hex')::uuid
    from floor(extract(epoch from clock_timestamp()) * 1000000) as at(time),
         cast(time as bigint) as us
$$;

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE TYPE public.attempt_result AS (
	webhook_id uuid,
	"position" bigint,
	fence bigint,
	event_id uuid,
	event_type text,
	event_at timestamp with time zone,
	attempt integer,
	outcome text,
	retry_ms bigint,
	lost_by uuid,
	url text,
	request_headers text,
	started_at timestamp with time zone,
	dns_us integer,
	connect_us integer,
	tls_us integer,
	first_byte_us integer,
	total_us integer,
	status integer,
	response_headers bytea,
	response_body bytea,
	error text,
	item_id uuid,
	sequence bigint
);

CREATE FUNCTION public.add_receiver_health() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
begin
  insert into receiver_health (webhook_id) values (new.id);
  return null;
end
$$;

CREATE FUNCTION public.await_login_turn(identifier text, ip_address text) RETURNS void
    LANGUAGE plpgsql
    SET lock_timeout TO '1s'
    AS $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
    'login ' || pg_catalog.lower(identifier collate "C") || ' ' || ip_address, 0));
exception when others then
  raise warning 'a failed login is counted out of turn: %', sqlerrm;
end
$$;

CREATE FUNCTION public.begin_epoch(expected uuid, above bigint, why text, if_moved boolean) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
declare
  room    constant bigint := 1000000000;
  present public.epoch;
  server  record;
  start   bigint;
begin
  -- If a dump of the data alone is older than this table, its restore leaves the table empty.
  insert into public.epoch (reason) values ('there was none') on conflict do nothing;
  select * into strict present from public.epoch for update;
  select * into server from public.server_identity();
  if present.id <> expected
     or (if_moved and (present.system_identifier, present.database_oid, present.timeline)
                      is not distinct from (server.system_identifier, server.database_oid, server.timeline)) then
    return present.id;
  end if;
  select greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint, position + room, above + room, present.base + room)
    into strict start
    from public.log_head
     for update;
  update public.log_head set position = start;
  perform setval('public.fences', greatest(start, last_value + room)) from public.fences;
  perform setval('public.outbox_seq_seq', greatest(start, last_value + room)) from public.outbox_seq_seq;
  delete from public.relays;
  delete from public.relay_marks;
  update public.epoch
     set id = gen_random_uuid(), base = start, bases = present.bases || start, begun_at = now(), reason = why,
         system_identifier = server.system_identifier, database_oid = server.database_oid, timeline = server.timeline
  returning id into present.id;
  return present.id;
end
$$;

CREATE TABLE public.outbox (
    seq bigint NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    location_ids uuid[],
    traceparent text,
    written_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    audience text,
    category_id uuid,
    user_ids uuid[],
    stock bigint,
    item_id uuid
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='50000', autovacuum_vacuum_cost_delay='0');

CREATE FUNCTION public.check_event(event public.outbox) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
begin
  if not (event.type ~ '^[a-z][a-z0-9-]*[a-z0-9]$' and length(event.type) <= 64) then
    raise check_violation using constraint = 'outbox_type_check', table = 'outbox',
      message = 'outbox_type_check: a type has 2 to 64 small letters, digits and hyphens, and begins with a letter';
  end if;
  if not (json_typeof(event.data::json) = 'object' and octet_length(event.data) <= 65000) then
    raise check_violation using constraint = 'outbox_data_check', table = 'outbox',
      message = 'outbox_data_check: data is a JSON object of at most 65000 bytes';
  end if;
  if not (event.occurred_at >= '0001-01-01 00:00:00+00' and event.occurred_at < '10000-01-01 00:00:00+00') then
    raise check_violation using constraint = 'outbox_occurred_at_check', table = 'outbox',
      message = 'outbox_occurred_at_check: occurred_at is within the years 1 to 9999';
  end if;
  if char_length(event.traceparent) > 64 then
    raise check_violation using constraint = 'outbox_traceparent_check', table = 'outbox',
      message = 'outbox_traceparent_check: traceparent has at most 64 characters';
  end if;
  if not public.is_of_the_time(event.id, event.written_at) then
    raise check_violation using constraint = 'outbox_id_time_check', table = 'outbox',
      message = 'outbox_id_time_check: id is a UUIDv7 of the last or the next 24 hours; leave it out to get one';
  end if;
  -- The subject: either the relay derives it, or the writer has stored it.
  if event.audience is null then
    if num_nonnulls(event.category_id, event.user_ids, event.stock, event.item_id) > 0 then
      raise check_violation using constraint = 'outbox_routed_check', table = 'outbox',
        message = 'outbox_routed_check: without an audience, category_id, user_ids, stock and item_id are null';
    end if;
  elsif event.audience not in ('inventory', 'transfer', 'checkout', 'user', 'other') then
    raise check_violation using constraint = 'outbox_audience_check', table = 'outbox',
      message = 'outbox_audience_check: an audience is inventory, transfer, checkout, user or other';
  elsif event.location_ids is null or event.user_ids is null then
    raise check_violation using constraint = 'outbox_routed_check', table = 'outbox',
      message = 'outbox_routed_check: with an audience, location_ids and user_ids are not null';
  end if;
  return true;
end
$_$;

CREATE TABLE public.items (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    sku text,
    serial_number text,
    description text,
    quantity integer DEFAULT 0 NOT NULL,
    reserved_quantity integer DEFAULT 0 NOT NULL,
    min_quantity integer DEFAULT 5 NOT NULL,
    condition text DEFAULT 'good'::text NOT NULL,
    status text DEFAULT 'available'::text NOT NULL,
    purchase_date date,
    category_id uuid,
    location_id uuid,
    attributes json DEFAULT '{}'::json NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION public.check_item(item public.items) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  if not (char_length(item.name) between 1 and 255) then
    raise check_violation using constraint = 'items_name_check', table = 'items',
      message = 'items_name_check: a name has 1 to 255 characters';
  end if;
  if not (char_length(item.sku) between 1 and 100) then
    raise check_violation using constraint = 'items_sku_check', table = 'items',
      message = 'items_sku_check: a sku has 1 to 100 characters';
  end if;
  if not (char_length(item.serial_number) between 1 and 100) then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number has 1 to 100 characters';
  end if;
  if char_length(item.description) > 8000 then
    raise check_violation using constraint = 'items_description_check', table = 'items',
      message = 'items_description_check: a description has at most 8000 characters';
  end if;
  if item.quantity < 0 or item.reserved_quantity < 0 or item.min_quantity < 0 then
    raise check_violation using constraint = 'items_quantity_check', table = 'items',
      message = 'items_quantity_check: no quantity is negative';
  end if;
  if item.reserved_quantity > item.quantity then
    raise check_violation using constraint = 'items_reserved_quantity_check', table = 'items',
      message = 'items_reserved_quantity_check: no more units are reserved than there are';
  end if;
  if item.serial_number is not null and item.quantity > 1 then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number names one unit';
  end if;
  if item.condition not in ('new', 'excellent', 'good', 'fair', 'poor', 'damaged') then
    raise check_violation using constraint = 'items_condition_check', table = 'items',
      message = 'items_condition_check: a condition is new, excellent, good, fair, poor or damaged';
  end if;
  if item.status not in ('available', 'checked_out', 'maintenance', 'retired', 'lost') then
    raise check_violation using constraint = 'items_status_check', table = 'items',
      message = 'items_status_check: a status is available, checked_out, maintenance, retired or lost';
  end if;
  if json_typeof(item.attributes) <> 'object' then
    raise check_violation using constraint = 'items_attributes_check', table = 'items',
      message = 'items_attributes_check: attributes are a JSON object';
  end if;
  return true;
end
$$;

CREATE TABLE public.stock_moves (
    seq bigint NOT NULL,
    item_id uuid NOT NULL,
    delta integer NOT NULL,
    reason text NOT NULL,
    reference_id uuid,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE FUNCTION public.check_move(move public.stock_moves) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
  if move.reason not in ('created', 'counted', 'transfer', 'checkout', 'checkin', 'deleted') then
    raise check_violation using constraint = 'stock_moves_reason_check', table = 'stock_moves',
      message = 'stock_moves_reason_check: a reason is created, counted, transfer, checkout, checkin or deleted';
  end if;
  if move.delta = 0 and move.reason not in ('created', 'deleted') then
    raise check_violation using constraint = 'stock_moves_delta_check', table = 'stock_moves',
      message = 'stock_moves_delta_check: only the first and the last move of an item may move nothing';
  end if;
  if (move.reference_id is not null) <> (move.reason in ('transfer', 'checkout', 'checkin')) then
    raise check_violation using constraint = 'stock_moves_reference_id_check', table = 'stock_moves',
      message = 'stock_moves_reference_id_check: a transfer, a checkout and a checkin name their object, and nothing else does';
  end if;
  return true;
end
$$;

CREATE FUNCTION public.count_ends(webhook_ids uuid[], outcomes text[], recorded_ats timestamp with time zone[]) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.departure(location_id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (OVERLAY(OVERLAY("left"(encode(sha256(convert_to(('leaves '::text || (location_id)::text), 'UTF8'::name)), 'hex'::text), 32) PLACING '8'::text FROM 13) PLACING '8'::text FROM 17))::uuid;

CREATE FUNCTION public.departures(location_ids uuid[]) RETURNS uuid[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ARRAY(SELECT public.departure(location.id) AS departure FROM unnest(departures.location_ids) location(id));

CREATE FUNCTION public.derive_subscriptions() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
begin
  delete from subscriptions where webhook_id = new.id;
  if new.active and new.deleted_at is null then
    insert into subscriptions (event_type, kind, key, webhook_id)
    select distinct type.name, filter.kind, filter.key, new.id
      from unnest(new.events) as type (name)
     cross join (
       select 'location' as kind, key from unnest(new.location_keys) as location (key)
       union all
       select 'category', key from unnest(new.filter_categories) as category (key)
        where new.filter_locations = '{}'
       union all
       select 'any', '00000000-0000-0000-0000-000000000000'::uuid
        where new.filter_locations = '{}' and new.filter_categories = '{}'
     ) as filter;
  end if;
  return null;
end
$$;

CREATE FUNCTION public.drop_partition(ended_before timestamp with time zone) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET lock_timeout TO '100ms'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
  part   record;
  name   text;
  locked boolean := false;
begin
  for part in select * from public.log_partitions() order by parent = 'public.events'::regclass, ends, child::text loop
    if part.ends is null or part.kind not in ('r', 'p') then
      raise notice 'retention leaves % alone: it is %', part.child,
        case when part.kind not in ('r', 'p') then 'no table of this database' else 'a partition without an end' end;
      continue;
    end if;
    continue when part.ends > ended_before;
    name := part.child::text;
    begin
      continue when part.parent = 'public.events'::regclass and (
        exists (select from public.deliveries where event_at < part.ends)
        or exists (select from public.attempts
                    where event_at < part.ends and recorded_at >= ended_before - interval '1 day'));
      execute format('drop table %s', part.child);
      return name;
    exception
      when lock_not_available then
        locked := true;
      when others then
        raise notice 'retention leaves % alone: %', name, sqlerrm;
    end;
  end loop;
  if locked then
    raise lock_not_available using message = 'all partitions that are to be dropped are locked';
  end if;
  return null;
end
$$;

CREATE FUNCTION public.end_discard(webhook_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  update public.webhooks as w
     set discard_through = 0
   where w.id = end_discard.webhook_id
     and not exists (select from public.deliveries as d where d.webhook_id = w.id and d.position <= w.discard_through);
  return found;
end
$$;

CREATE FUNCTION public.fall_asleep(class_id integer, object_id integer) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
declare
  granted constant boolean := pg_try_advisory_lock(class_id, object_id);
begin
  if exists (select from outbox) or exists (select from lane_wakes) then
    if granted then
      perform pg_advisory_unlock(class_id, object_id);
    end if;
    return 'work';
  end if;
  return case when granted then 'asleep' else 'busy' end;
end
$$;

CREATE FUNCTION public.fan_out(batch integer, few integer, patience_ms integer, release_first boolean, sleep_if_idle boolean, class_id integer, object_id integer, relay_id uuid, most integer, per_webhook integer, crowded uuid[], OUT events bigint, OUT deliveries bigint, OUT lanes uuid[], OUT webhook_ids uuid[], OUT positions bigint[], OUT fences bigint[], OUT versions bigint[], OUT event_positions bigint[], OUT event_ids uuid[], OUT event_types text[], OUT datas text[], OUT occurred_ats timestamp with time zone[], OUT traceparents text[], OUT seen bigint, OUT more boolean, OUT stuck boolean, OUT wakes boolean, OUT state text, OUT claimed_at timestamp with time zone, OUT event_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  -- The loop below counts leases only in all, not in each lane. So it takes no more events than one
  -- lane may have leases.
  single constant integer := least(few, batch, case when most > 0 then per_webhook else few end);
  seqs bigint[];
  this outbox;
  place bigint;
  one record;
  ordered_webhook_ids uuid[];
  ordered_item_ids uuid[];
  ordered_positions bigint[];
  ordered_event_ids uuid[];
  ordered_event_types text[];
begin
  if release_first then
    perform pg_advisory_unlock(class_id, object_id);
  end if;
  if patience_ms > 0 then
    perform wait_for_writers(patience_ms, class_id, object_id);
  end if;
  claimed_at := clock_timestamp();
  event_at := now();
  select exists (select from lane_wakes), array_agg(o.seq order by o.seq), count(*), coalesce(bool_or(o.stuck), false)
    into wakes, seqs, seen, stuck
    from oldest_events(single + 1) as o;

  if stuck or seen > single then
    select m.events, m.deliveries, m.lanes, m.webhook_ids, m.positions, m.fences, m.versions, m.event_positions, m.event_ids,
           m.event_types, m.datas, m.occurred_ats, m.traceparents, m.ordered_webhook_ids, m.ordered_item_ids,
           m.ordered_positions, m.ordered_event_ids, m.ordered_event_types, m.seen, coalesce(m.stuck, false)
      into events, deliveries, lanes, webhook_ids, positions, fences, versions, event_positions, event_ids,
           event_types, datas, occurred_ats, traceparents, ordered_webhook_ids, ordered_item_ids,
           ordered_positions, ordered_event_ids, ordered_event_types, seen, stuck
      from fan_out_many(batch, relay_id, most, per_webhook, crowded, claimed_at) as m;
    more := stuck or seen = batch;
    sleep_if_idle := sleep_if_idle and seen <> batch;
  else
    events := 0;
    deliveries := 0;
    more := false;
    for number in 1 .. seen loop
      delete from outbox where seq = seqs[number] returning * into this;
      -- Somebody may have deleted it since it was read.
      continue when not found;
      update log_head set position = log_head.position + 1 returning log_head.position into place;
      with matched as materialized (
        select m.*, case when m.ordering = 'item' then this.item_id end as item_id
          from matching_webhooks(this.type, this.audience, this.location_ids, this.category_id, this.user_ids, this.stock,
                                 relay_id, crowded) as m
      ),
      due as materialized (
        select *,
               case when leasable and count(*) filter (where leasable) over (rows unbounded preceding)
                                      <= most - coalesce(cardinality(fences), 0)
                    then nextval('fences') end as fence
          from matched
      ),
      queued as (
        insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until,
                                fence)
        select d.webhook_id, place, this.id, this.type, now(), now(),
               case when d.fence is not null then relay_id end,
               case when d.fence is not null then claimed_at + make_interval(secs => d.timeout_ms / 1000.0 + 10) end,
               d.fence
          from due as d
         where d.item_id is null
      )
      select count(*) as matched, count(*) filter (where item_id is null) as queued,
             array_agg(webhook_id) filter (where item_id is null and fence is null) as lanes,
             array_agg(webhook_id) filter (where fence is not null) as webhook_ids,
             array_agg(place) filter (where fence is not null) as positions,
             array_agg(fence) filter (where fence is not null) as fences,
             array_agg(version) filter (where fence is not null) as versions,
             array_agg(webhook_id) filter (where item_id is not null) as ordered_webhook_ids,
             array_agg(place) filter (where item_id is not null) as ordered_positions
        into one
        from due;
      insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                          item_id, traceparent, deliveries)
      values (place, this.id, this.seq, this.type, this.data, this.occurred_at, this.audience, this.location_ids,
              this.category_id, this.user_ids, this.stock, this.item_id, this.traceparent, one.matched);
      events := events + 1;
      deliveries := deliveries + one.queued;
      lanes := lanes || one.lanes;
      if one.fences is not null then
        webhook_ids := webhook_ids || one.webhook_ids;
        positions := positions || one.positions;
        fences := fences || one.fences;
        versions := versions || one.versions;
        event_positions := event_positions || place;
        event_ids := event_ids || this.id;
        event_types := event_types || this.type;
        datas := datas || this.data;
        occurred_ats := occurred_ats || this.occurred_at;
        traceparents := traceparents || this.traceparent;
      end if;
      if one.ordered_webhook_ids is not null then
        ordered_webhook_ids := ordered_webhook_ids || one.ordered_webhook_ids;
        ordered_positions := ordered_positions || one.ordered_positions;
        ordered_item_ids := ordered_item_ids || array_fill(this.item_id, array[cardinality(one.ordered_positions)]);
        ordered_event_ids := ordered_event_ids || array_fill(this.id, array[cardinality(one.ordered_positions)]);
        ordered_event_types := ordered_event_types || array_fill(this.type, array[cardinality(one.ordered_positions)]);
      end if;
    end loop;
  end if;

  if ordered_webhook_ids is not null then
    -- Both branches end here. The upsert in queue_in_order sees the newest version of each item's
    -- row.
    select fan_out.deliveries + q.deliveries, fan_out.lanes || q.lanes
      into deliveries, lanes
      from queue_in_order(ordered_webhook_ids, ordered_item_ids, ordered_positions, ordered_event_ids, ordered_event_types) as q;
  end if;
  if sleep_if_idle then
    state := fall_asleep(class_id, object_id);
  end if;
end
$$;

CREATE FUNCTION public.fan_out_many(batch integer, relay_id uuid, most integer, per_webhook integer, crowded uuid[], claimed_at timestamp with time zone, OUT events bigint, OUT deliveries bigint, OUT lanes uuid[], OUT webhook_ids uuid[], OUT positions bigint[], OUT fences bigint[], OUT versions bigint[], OUT event_positions bigint[], OUT event_ids uuid[], OUT event_types text[], OUT datas text[], OUT occurred_ats timestamp with time zone[], OUT traceparents text[], OUT ordered_webhook_ids uuid[], OUT ordered_item_ids uuid[], OUT ordered_positions bigint[], OUT ordered_event_ids uuid[], OUT ordered_event_types text[], OUT seen bigint, OUT stuck boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
  with oldest as materialized (
    select o.seq, o.stuck from oldest_events(batch) as o
  ),
  found as materialized (
    select count(*) as rows, bool_or(stuck) as stuck, min(seq) as first,
           coalesce(min(seq) filter (where stuck) - 1, max(seq)) as through
      from oldest
  ),
  moved as (
    delete from outbox as o
     using found
     -- Rows before the first are deleted, but while an old snapshot is open, their index entries
     -- would still be read.
     where o.seq >= found.first and o.seq <= found.through
    returning o.*
  ),
  head as (
    update log_head
       set position = position + moved.rows
      from (select count(*) as rows from moved) as moved
     where moved.rows > 0
    returning position - moved.rows as before, moved.rows
  ),
  event as (
    -- Without a head of the log there is no position, and the log refuses the event. So no event is
    -- lost.
    select moved.*, (select before from head) + row_number() over (order by moved.seq) as position
      from moved
  ),
  alike as (
    -- Events that differ in nothing that webhooks are matched by are matched once.
    select type, audience, location_ids, category_id, user_ids, stock, array_agg(position) as positions,
           array_agg(id) as ids, array_agg(item_id) as item_ids
      from event
     group by type, audience, location_ids, category_id, user_ids, stock
  ),
  matched as materialized (
    select webhook_id, timeout_ms, version, leasable, type, position, id, case when ordering = 'item' then item_id end as item_id
      from (select w.*, a.type, unnest(a.positions) as position, unnest(a.ids) as id, unnest(a.item_ids) as item_id
              from alike as a
             cross join lateral matching_webhooks(a.type, a.audience, a.location_ids, a.category_id, a.user_ids, a.stock,
                                                  relay_id, crowded) as w) as pair
  ),
  logged as (
    insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                        item_id, traceparent, deliveries)
    select n.position, n.id, n.seq, n.type, n.data, n.occurred_at, n.audience, n.location_ids, n.category_id, n.user_ids,
           n.stock, n.item_id, n.traceparent, coalesce(m.deliveries, 0)
      from event as n
      left join (select position, count(*) as deliveries from matched group by position) as m on m.position = n.position
  ),
  shared as (
    select *, leasable and row_number() over (partition by webhook_id order by position) <= per_webhook as fits
      from matched
  ),
  offered as (
    select *, fits and count(*) filter (where fits) over (order by position, webhook_id rows unbounded preceding) <= most as leased
      from shared
  ),
  due as (
    select *, case when leased then nextval('fences') end as fence from offered
  ),
  queued as (
    insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until, fence)
    select d.webhook_id, d.position, d.id, d.type, now(), now(),
           case when d.leased then relay_id end,
           case when d.leased then claimed_at + make_interval(secs => d.timeout_ms / 1000.0 + 10) end,
           d.fence
      from due as d
     where d.item_id is null
  )
  select coalesce((select rows from head), 0), done.*, event.*, ordered.*, found.rows, found.stuck
    into events, deliveries, lanes, webhook_ids, positions, fences, versions,
         event_positions, event_ids, event_types, datas, occurred_ats, traceparents,
         ordered_webhook_ids, ordered_item_ids, ordered_positions, ordered_event_ids, ordered_event_types,
         seen, stuck
    from found
   cross join (
     select count(*) filter (where item_id is null),
            array_agg(distinct webhook_id) filter (where item_id is null and not leased),
            array_agg(webhook_id) filter (where leased),
            array_agg(position) filter (where leased),
            array_agg(fence) filter (where leased),
            array_agg(version) filter (where leased)
       from due) as done
   cross join lateral (
     select array_agg(position), array_agg(id), array_agg(type), array_agg(data), array_agg(occurred_at), array_agg(traceparent)
       from event
      where position between (select min(position) from due where leased) and (select max(position) from due where leased)
     ) as event
   cross join (
     select array_agg(webhook_id), array_agg(item_id), array_agg(position), array_agg(id), array_agg(type)
       from due
      where item_id is not null) as ordered;
end
$$;

CREATE FUNCTION public.is_of_the_time(id uuid, written_at timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
begin
  return abs(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0::float8
             - extract(epoch from written_at)::float8) <= 86400;
end
$$;

CREATE FUNCTION public.search_text(given text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN regexp_replace(regexp_replace(lower(given), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+'::text, ' '::text, 'g'::text), '([\u2e80-\u9fff\uf900-\ufaff])'::text, ' \1 '::text, 'g'::text);

CREATE FUNCTION public.item_text(item public.items) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((' '::text || public.search_text(concat_ws(' '::text, (item).name, (item).sku, (item).serial_number, (item).description))) || ' '::text);

CREATE FUNCTION public.keep_mark() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
begin
  insert into public.relay_marks (relay_id, mark) values (old.id, old.mark)
      on conflict (relay_id) do update set mark = excluded.mark, left_at = excluded.left_at;
  return null;
end
$$;

CREATE FUNCTION public.lasts(until timestamp with time zone, now timestamp with time zone, longest interval) RETURNS boolean
    LANGUAGE sql PARALLEL SAFE
    AS $$
  select until > now and until <= greatest(now, clock_timestamp()) + longest
$$;

CREATE FUNCTION public.leader_is_awake() RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
  return pg_catalog.pg_try_advisory_xact_lock_shared(1246712659, 2);
exception when others then
  -- The table of locks is full.
  return false;
end
$$;

CREATE FUNCTION public.log_end() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
  select position from public.log_head
$$;

CREATE FUNCTION public.log_partitions() RETURNS TABLE(parent regclass, child regclass, kind "char", begins timestamp with time zone, ends timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO'
    AS $_$
  select inhparent::regclass, part.oid::regclass, part.relkind,
         substring(bound from $re$FROM \('([^']*)'\)$re$)::timestamptz, substring(bound from $re$TO \('([^']*)'\)$re$)::timestamptz
    from pg_inherits
    join pg_class as part on part.oid = inhrelid
   cross join pg_get_expr(part.relpartbound, part.oid) as bound
   where inhparent in ('public.attempts'::regclass, 'public.events'::regclass)
$_$;

CREATE FUNCTION public.logged_at(event_at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when event_at > now() and exists (select from public.log_partitions() as part
                                                 where part.parent = 'public.attempts'::regclass
                                                   and part.begins <= event_at and part.ends > event_at)
              then event_at else now() end
$$;

CREATE FUNCTION public.make_partitions(days_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET lock_timeout TO '100ms'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
  missing record;
  name    text;
  made    integer := 0;
  locked  boolean := false;
begin
  for missing in
    select log.parent, day::timestamptz as day, day + interval '1 day' as next_day
      from (values ('events'), ('attempts')) as log (parent)
     cross join generate_series(current_date::timestamptz, current_date + days_ahead, interval '1 day') as day
     where not exists (select from public.log_partitions() as part
                        where part.parent = log.parent::regclass and part.begins <= day and part.ends >= day + interval '1 day')
  loop
    name := missing.parent || '_' || to_char(missing.day, 'YYYYMMDD');
    -- Another relation may have that name.
    while to_regclass(format('public.%I', name)) is not null loop
      name := name || '_';
    end loop;
    begin
      -- The table is attached, not created in place. Attaching takes a lock under which reads and
      -- writes of the parent go on.
      execute format('create table public.%I (like public.%I including defaults including constraints)', name, missing.parent);
      execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
                     missing.parent, name, missing.day, missing.next_day);
      made := made + 1;
    exception
      when lock_not_available then
        locked := true;
      when others then
        raise notice 'no partition of % is made for %: %', missing.parent, missing.day::date, sqlerrm;
    end;
  end loop;
  if locked and made = 0 then
    raise lock_not_available using message = 'the parents of all partitions that are missing are locked';
  end if;
  return made;
end
$$;

CREATE FUNCTION public.matching_webhooks(event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[], stock bigint, relay_id uuid, crowded uuid[]) RETURNS TABLE(webhook_id uuid, ordering text, timeout_ms integer, version bigint, leasable boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
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

CREATE FUNCTION public.may_read(role text, owner_id uuid, audience text, location_ids uuid[], user_ids uuid[]) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select case
    when role = 'admin' then true
    when audience = 'inventory' then
      role <> 'foreman' or location_ids = '{}'
      or exists (select from public.location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids))
    when audience in ('transfer', 'checkout') then
      role = 'supervisor' or owner_id = any (user_ids)
      or (role = 'foreman'
          and exists (select from public.location_foremen as f where f.user_id = owner_id and f.location_id = any (location_ids)))
    when audience = 'user' then owner_id = any (user_ids)
    else false
  end
$$;

CREATE FUNCTION public.narrow_on_role() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  new.narrowed_at := now();
  return new;
end
$$;

CREATE FUNCTION public.narrow_on_unassignment() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
begin
  -- Lock in the order of ids, so that two such statements never deadlock.
  perform from users where id in (select user_id from gone) order by id for no key update;
  update users set narrowed_at = now() where id in (select user_id from gone);
  return null;
end
$$;

CREATE FUNCTION public.oldest_events(most integer) RETURNS TABLE(seq bigint, stuck boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select o.seq,
         o.audience is null
         or (select true from public.events as e
              where e.id = o.id and e.recorded_at >= public.uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
              limit 1) is not null
    from (select seq, id, audience from public.outbox order by seq limit most) as o
$$;

CREATE FUNCTION public.queue_in_order(webhook_ids uuid[], item_ids uuid[], positions bigint[], event_ids uuid[], event_types text[], OUT deliveries bigint, OUT lanes uuid[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
begin
  with matched as (
    select *
      from unnest(webhook_ids, item_ids, positions, event_ids, event_types) as m (webhook_id, item_id, position, id, type)
  ),
  in_order as (
    select webhook_id, item_id, position, id, type,
           row_number() over (partition by webhook_id, item_id order by position)
           - count(*) over (partition by webhook_id, item_id) as from_newest
      from matched
  ),
  orders as (
    -- The upsert sees the newest version of a row, not the snapshot's. So it knows for certain
    -- whether the item has a head, even if a relay has just ended the head. The numbers of an epoch
    -- begin above its base.
    insert into public.item_orders as o (webhook_id, item_id, sequence, head)
    select webhook_id, item_id, base + count(*), base + 1
      from in_order
     cross join public.epoch
     group by webhook_id, item_id, base
     order by webhook_id, item_id
    on conflict (webhook_id, item_id) do update
       set sequence = greatest(o.sequence, (select base from public.epoch)) + excluded.sequence
                      - (select base from public.epoch),
           head = case when o.blocked_position is null
                       then coalesce(o.head, greatest(o.sequence, (select base from public.epoch)) + 1) end
    returning webhook_id, item_id, sequence, head, not_before
  ),
  placed as (
    -- Sorting brings each delivery to its item's row. The planner cannot know how many there are,
    -- and a nested loop would take seconds.
    select webhook_id, item_id, position, id, type, from_newest + max(newest) over same as sequence, max(head) over same as head,
           max(not_before) over same as not_before
      from (select webhook_id, item_id, position, id, type, from_newest, null::bigint as newest, null::bigint as head,
                   null::timestamptz as not_before
              from in_order
            union all
            select webhook_id, item_id, null, null, null, null, sequence, head, not_before from orders) as both_of_them
    window same as (partition by webhook_id, item_id)
  ),
  queued as (
    insert into public.deliveries (webhook_id, position, event_id, event_type, event_at, item_id, sequence, next_attempt_at)
    select webhook_id, position, id, type, now(), item_id, sequence,
           case when sequence = head
                then case when public.lasts(not_before, now(), '75 seconds') then not_before else now() end end
      from placed
     where position is not null
    returning webhook_id, next_attempt_at
  )
  select count(*), array_agg(distinct webhook_id) filter (where next_attempt_at is not null)
    into deliveries, lanes
    from queued;
end
$$;

CREATE FUNCTION public.record_mutation(events json, audits json, author json) RETURNS uuid[]
    LANGUAGE plpgsql
    AS $$
declare
  event_ids uuid[] := '{}';
begin
  if events::text <> '[]' then
    with written as (
      insert into public.outbox (type, data, traceparent, audience, location_ids, category_id, user_ids, stock, item_id)
      select event.type, event.data, author ->> 'traceparent', event.audience, event.location_ids, event.category_id,
             event.user_ids, event.stock, event.item_id
        from rows from (json_to_recordset(events)
                          as (type text, data text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[],
                              stock bigint, item_id uuid))
             with ordinality
             as event (type, data, audience, location_ids, category_id, user_ids, stock, item_id, number)
       order by event.number
      returning outbox.id
    )
    select array_agg(written.id) into event_ids from written;
  end if;
  if audits::text <> '[]' then
    event_ids := array(select json_array_elements_text(author -> 'earlier')::uuid) || event_ids;
    insert into public.audit (actor_id, action, entity, entity_id, before, after, ip_address, request_id, event_ids)
    select (author ->> 'actor_id')::uuid, changed.action, changed.entity, changed.entity_id, changed.before, changed.after,
           author ->> 'ip_address', author ->> 'request_id', event_ids [changed.first : changed.last]
      from json_to_recordset(audits)
           as changed (action text, entity text, entity_id uuid, before json, after json, first int, last int);
  end if;
  return event_ids;
end
$$;

CREATE FUNCTION public.renew_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
begin
  new.version := old.version + 1 + ('x' || right(gen_random_uuid()::text, 10))::bit(40)::bigint;
  return new;
end
$$;

CREATE FUNCTION public.replayable(webhook uuid, after_position bigint, through_position bigint, since timestamp with time zone, until timestamp with time zone, wanted text, types text[], log_from timestamp with time zone) RETURNS TABLE(event_position bigint, event_id uuid, event_type text, event_at timestamp with time zone, occurred_at timestamp with time zone, outcome text, attempt integer, ended_at timestamp with time zone, item_id uuid, sequence bigint)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
    join public.attempts as a on a.webhook_id = w.id
    join public.events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('failed', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome in ('failed', 'cancelled', 'expired') and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, a.outcome, a.attempt, a.recorded_at, a.item_id, a.sequence
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
    join public.attempts as a on a.webhook_id = w.id
    join public.events as e on e.position = a.position and e.recorded_at = a.event_at
   where w.id = webhook and wanted in ('success', 'all')
     and a.position > after_position and a.position <= through_position
     and a.outcome = 'success' and a.retried_at is null and a.recorded_at >= log_from
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.may_read(u.role, u.id, e.audience, e.location_ids, e.user_ids)
  union all
  select e.position, e.id, e.type, e.recorded_at, e.occurred_at, null, null, null,
         case when w.ordering = 'item' then e.item_id end, null
    from public.webhooks as w
    join public.users as u on u.id = w.owner_id
   cross join public.events as e
   where w.id = webhook and wanted in ('missing', 'all')
     and e.position > after_position and e.position <= through_position
     and e.recorded_at >= log_from and e.occurred_at >= since and e.occurred_at < until
     and (types is null or e.type = any (types))
     and public.webhook_wants(w, u.role, e.type, e.audience, e.location_ids, e.category_id, e.user_ids, e.stock)
     and not exists (select from public.deliveries as d where d.webhook_id = w.id and d.position = e.position)
     and not exists (select from public.attempts as a
                      where a.webhook_id = w.id and a.position = e.position and a.recorded_at >= e.recorded_at)
$$;

CREATE FUNCTION public.ring() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if pg_catalog.current_setting('jossiedb.rung', true) = 'yes' or public.leader_is_awake() then
    return null;
  end if;
  if pg_catalog.pg_notification_queue_usage() > 0.9 or pg_catalog.current_query() ~* '\mprepare\s+transaction\M' then
    return null;
  end if;
  begin
    -- NOTIFY takes one more lock. So take and release one with a number that is only ours: it needs
    -- as much room in the table of locks.
    perform pg_catalog.pg_advisory_lock(1246712659, - pg_catalog.pg_backend_pid());
    perform pg_catalog.pg_advisory_unlock(1246712659, - pg_catalog.pg_backend_pid());
  exception when others then
    return null;
  end;
  perform pg_catalog.pg_notify('jossiedb_wake', '');
  -- One ring is enough for a transaction, however many rows it writes.
  perform pg_catalog.set_config('jossiedb.rung', 'yes', true);
  return null;
end
$$;

CREATE FUNCTION public.search_pattern(word text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((('%'::text || CASE WHEN (public.search_text(word) ~ '^ *[^ ]{1,2}( |$)'::text) THEN ' '::text ELSE ''::text END) || btrim(public.search_text(word))) || '%'::text);

CREATE FUNCTION public.server_identity(OUT system_identifier bigint, OUT database_oid bigint, OUT timeline integer) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if has_function_privilege('pg_control_system()', 'execute') then
    system_identifier := (select control.system_identifier from pg_control_system() as control);
  end if;
  database_oid := (select oid::bigint from pg_database where datname = current_database());
  if not pg_is_in_recovery() then
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;
  end if;
end
$$;

CREATE FUNCTION public.subscribed(wanted text, location_ids uuid[], category_id uuid) RETURNS TABLE(webhook_id uuid)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select s.webhook_id from public.subscriptions as s
   where s.event_type = wanted and s.kind = 'any' and s.key = '00000000-0000-0000-0000-000000000000'
  union all
  select distinct s.webhook_id
    from (select 'location' as kind, place.id as low, place.id as high from unnest(location_ids) as place (id)
          union all
          select 'location', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
           where location_ids = '{}'
          union all
          select 'category', coalesce(category_id, '00000000-0000-0000-0000-000000000000'),
                 coalesce(category_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) as filter
   cross join lateral (
     select t.webhook_id
       from public.subscriptions as t
      where t.event_type = wanted and t.kind = filter.kind and t.key between filter.low and filter.high offset 0) as s
  offset 0
$$;

CREATE FUNCTION public.tokens_now(tokens double precision, tokens_at timestamp with time zone, rate integer, burst integer, now timestamp with time zone) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select least(burst, coalesce(case when tokens_at > now then greatest(tokens, 1)
                                    else tokens + extract(epoch from now - tokens_at) * rate end,
                               burst))::float8
$$;

CREATE FUNCTION public.uuid_time(id uuid) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
  select to_timestamp(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;

CREATE FUNCTION public.wait_for_writers(patience_ms integer, class_id integer, object_id integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  perform pg_catalog.set_config('lock_timeout', patience_ms::text, true);
  begin
    -- Trap: the lock may be granted just as the time runs out, and PostgreSQL still raises the
    -- error. Undoing the block releases the lock in both cases.
    perform pg_catalog.pg_advisory_xact_lock(class_id, object_id);
    raise exception 'granted' using errcode = 'JD001';
  exception when lock_not_available or sqlstate 'JD001' then
    null;
  end;
  perform pg_catalog.set_config('lock_timeout', '0', true);
end
$$;

CREATE FUNCTION public.wake_lanes(webhook_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
begin
  insert into public.lane_wakes (webhook_id) select pg_catalog.unnest(webhook_ids);
exception when others then
  raise warning 'lanes were not woken: %', sqlerrm;
end
$$;

CREATE TABLE public.webhooks (
    id uuid DEFAULT uuidv7() NOT NULL,
    owner_id uuid NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    active boolean DEFAULT true NOT NULL,
    filter_locations uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    filter_categories uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    min_stock_threshold integer,
    secret_sealed bytea NOT NULL,
    headers_sealed bytea,
    max_retries integer NOT NULL,
    retry_delay_ms integer NOT NULL,
    timeout_ms integer NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    discard_through bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    description text,
    retry_ladder text,
    retry_delays_ms integer[],
    rate_per_second integer,
    rate_burst integer,
    disabled_at timestamp with time zone,
    disabled_reason text,
    ordering text,
    on_failure text,
    previous_secret_sealed bytea,
    overlap_until timestamp with time zone,
    filter_leaving boolean DEFAULT false NOT NULL,
    location_keys uuid[] GENERATED ALWAYS AS (
CASE
    WHEN filter_leaving THEN (filter_locations || public.departures(filter_locations))
    ELSE filter_locations
END) STORED NOT NULL,
    log_position bigint DEFAULT public.log_end(),
    CONSTRAINT webhooks_description_check CHECK ((char_length(description) <= 500)),
    CONSTRAINT webhooks_disabled_check CHECK ((((disabled_at IS NULL) = (disabled_reason IS NULL)) AND ((disabled_at IS NULL) OR (NOT active)))),
    CONSTRAINT webhooks_disabled_reason_check CHECK ((char_length(disabled_reason) <= 500)),
    CONSTRAINT webhooks_events_check CHECK ((cardinality(events) > 0)),
    CONSTRAINT webhooks_max_retries_check CHECK (((max_retries >= 0) AND (max_retries <= 20))),
    CONSTRAINT webhooks_min_stock_threshold_check CHECK ((min_stock_threshold > 0)),
    CONSTRAINT webhooks_on_failure_check CHECK ((on_failure = ANY (ARRAY['block'::text, 'skip'::text]))),
    CONSTRAINT webhooks_order_check CHECK (((ordering IS NULL) = (on_failure IS NULL))),
    CONSTRAINT webhooks_ordering_check CHECK ((ordering = 'item'::text)),
    CONSTRAINT webhooks_overlap_check CHECK (((previous_secret_sealed IS NULL) = (overlap_until IS NULL))),
    CONSTRAINT webhooks_overlap_until_check CHECK (isfinite(overlap_until)),
    CONSTRAINT webhooks_rate_burst_check CHECK (((rate_burst >= 1) AND (rate_burst <= 10000))),
    CONSTRAINT webhooks_rate_check CHECK (((rate_per_second IS NULL) = (rate_burst IS NULL))),
    CONSTRAINT webhooks_rate_per_second_check CHECK (((rate_per_second >= 1) AND (rate_per_second <= 10000))),
    CONSTRAINT webhooks_retry_delay_ms_check CHECK (((retry_delay_ms >= 100) AND (retry_delay_ms <= 60000))),
    CONSTRAINT webhooks_retry_delays_ms_check CHECK (((cardinality(retry_delays_ms) >= 1) AND (cardinality(retry_delays_ms) <= 20) AND (array_position(retry_delays_ms, NULL::integer) IS NULL) AND (100 <= ALL (retry_delays_ms)) AND (86400000 >= ALL (retry_delays_ms)))),
    CONSTRAINT webhooks_retry_ladder_check CHECK ((retry_ladder = 'standard'::text)),
    CONSTRAINT webhooks_retry_schedule_check CHECK (((num_nonnulls(retry_ladder, retry_delays_ms) <= 1) AND ((retry_delays_ms IS NULL) OR (max_retries = cardinality(retry_delays_ms))))),
    CONSTRAINT webhooks_timeout_ms_check CHECK (((timeout_ms >= 5000) AND (timeout_ms <= 60000))),
    CONSTRAINT webhooks_url_check CHECK (((char_length(url) >= 1) AND (char_length(url) <= 2048)))
);

COMMENT ON COLUMN public.webhooks.log_position IS 'Where the log ended when the webhook was made; null for those made before this was kept.';

CREATE FUNCTION public.webhook_wants(webhook public.webhooks, owner_role text, event_type text, audience text, location_ids uuid[], category_id uuid, user_ids uuid[], stock bigint) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
  select event_type = any (webhook.events)
     and (webhook.filter_locations = '{}' or location_ids = '{}' or location_ids && webhook.location_keys)
     and (webhook.filter_categories = '{}' or category_id is null or category_id = any (webhook.filter_categories))
     and (webhook.min_stock_threshold is null or event_type <> 'low-stock-alert' or stock < webhook.min_stock_threshold)
     and (owner_role = 'admin' or (audience = 'inventory' and owner_role <> 'foreman')
          or public.may_read(owner_role, webhook.owner_id, audience, location_ids, user_ids))
$$;

CREATE FUNCTION public.write_text_of_changed_item() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  update public.item_texts set text = public.item_text(new) where item_id = new.id;
  return null;
end
$$;

CREATE FUNCTION public.write_texts_of_new_items() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  insert into public.item_texts (item_id, text) select id, public.item_text(fresh) from fresh;
  return null;
end
$$;

CREATE TABLE public.attempts (
    webhook_id uuid NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    event_at timestamp with time zone NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    retried_at timestamp with time zone,
    next_attempt_at timestamp with time zone,
    relay_id uuid,
    fence bigint,
    lost_by uuid,
    url text,
    request_headers json,
    started_at timestamp with time zone,
    dns_us integer,
    connect_us integer,
    tls_us integer,
    first_byte_us integer,
    total_us integer,
    status integer,
    response_headers bytea,
    response_body bytea,
    error text,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    item_id uuid,
    sequence bigint,
    CONSTRAINT attempts_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT attempts_check CHECK (((outcome = 'retry'::text) = (next_attempt_at IS NOT NULL))),
    CONSTRAINT attempts_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'retry'::text, 'failed'::text, 'superseded'::text, 'cancelled'::text, 'expired'::text, 'skipped'::text]))),
    CONSTRAINT attempts_sequence_check CHECK (((item_id IS NULL) = (sequence IS NULL)))
)
PARTITION BY RANGE (recorded_at);

CREATE TABLE public.audit (
    id uuid DEFAULT uuidv7() NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor_id uuid,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id uuid NOT NULL,
    before json,
    after json,
    ip_address text,
    request_id text,
    event_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL
);

CREATE TABLE public.categories (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    description text,
    parent_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT categories_check CHECK ((parent_id <> id)),
    CONSTRAINT categories_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255)))
);

CREATE TABLE public.checkout_returns (
    id uuid DEFAULT uuidv7() NOT NULL,
    checkout_id uuid NOT NULL,
    quantity integer NOT NULL,
    returned_by uuid NOT NULL,
    item_id uuid NOT NULL,
    location_id uuid,
    notes text,
    returned_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT checkout_returns_notes_check CHECK ((char_length(notes) <= 8000)),
    CONSTRAINT checkout_returns_quantity_check CHECK ((quantity > 0))
);

CREATE TABLE public.checkouts (
    id uuid DEFAULT uuidv7() NOT NULL,
    item_id uuid NOT NULL,
    user_id uuid NOT NULL,
    quantity integer NOT NULL,
    returned_quantity integer DEFAULT 0 NOT NULL,
    status text NOT NULL,
    came_from text,
    expected_return_date date,
    destination_location_id uuid,
    project_id text,
    notes text,
    authorized_by uuid,
    authorized_at timestamp with time zone,
    rejected_by uuid,
    rejected_at timestamp with time zone,
    cancelled_by uuid,
    cancelled_at timestamp with time zone,
    returned_by uuid,
    returned_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    open_item_id uuid GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['pending_authorization'::text, 'active'::text])) THEN item_id
    ELSE NULL::uuid
END) STORED,
    open_user_id uuid GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['pending_authorization'::text, 'active'::text])) THEN user_id
    ELSE NULL::uuid
END) STORED,
    open_destination_id uuid GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['pending_authorization'::text, 'active'::text])) THEN destination_location_id
    ELSE NULL::uuid
END) STORED,
    requested_by uuid,
    open_requested_by uuid GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['pending_authorization'::text, 'active'::text])) THEN requested_by
    ELSE NULL::uuid
END) STORED,
    CONSTRAINT checkouts_edge_check CHECK (
CASE
    WHEN (came_from IS NULL) THEN (status = ANY (ARRAY['pending_authorization'::text, 'active'::text]))
    WHEN (came_from = 'pending_authorization'::text) THEN (status = ANY (ARRAY['active'::text, 'rejected'::text, 'cancelled'::text]))
    WHEN (came_from = 'active'::text) THEN (status = ANY (ARRAY['active'::text, 'returned'::text]))
    ELSE false
END),
    CONSTRAINT checkouts_notes_check CHECK ((char_length(notes) <= 8000)),
    CONSTRAINT checkouts_project_id_check CHECK (((char_length(project_id) >= 1) AND (char_length(project_id) <= 255))),
    CONSTRAINT checkouts_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT checkouts_steps_check CHECK (((num_nulls(authorized_by, authorized_at) <> 1) AND (num_nulls(rejected_by, rejected_at) <> 1) AND (num_nulls(cancelled_by, cancelled_at) <> 1) AND (num_nulls(returned_by, returned_at) <> 1) AND ((authorized_at IS NOT NULL) = (status = ANY (ARRAY['active'::text, 'returned'::text]))) AND ((rejected_at IS NOT NULL) = (status = 'rejected'::text)) AND ((cancelled_at IS NOT NULL) = (status = 'cancelled'::text)) AND ((returned_at IS NOT NULL) = (status = 'returned'::text)) AND
CASE status
    WHEN 'returned'::text THEN (returned_quantity = quantity)
    WHEN 'active'::text THEN ((returned_quantity >= 0) AND (returned_quantity <= (quantity - 1)))
    ELSE (returned_quantity = 0)
END AND ((NOT (came_from IS DISTINCT FROM 'active'::text)) = (returned_quantity > 0))))
);

CREATE TABLE public.deliveries (
    webhook_id uuid NOT NULL,
    "position" bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    event_at timestamp with time zone NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now(),
    attempts integer DEFAULT 0 NOT NULL,
    attempts_before integer DEFAULT 0 NOT NULL,
    leased_by uuid,
    lease_until timestamp with time zone,
    fence bigint,
    lost_leases integer DEFAULT 0 NOT NULL,
    lost_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    item_id uuid,
    sequence bigint,
    scheduled_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT deliveries_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT deliveries_check CHECK (((attempts_before >= 0) AND (attempts_before <= attempts))),
    CONSTRAINT deliveries_lease_check CHECK ((((leased_by IS NULL) = (lease_until IS NULL)) AND ((leased_by IS NULL) = (fence IS NULL)))),
    CONSTRAINT deliveries_lost_leases_check CHECK ((lost_leases >= 0)),
    CONSTRAINT deliveries_order_check CHECK (((item_id IS NULL) = (sequence IS NULL))),
    CONSTRAINT deliveries_readable_check CHECK (((next_attempt_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (next_attempt_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (event_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (event_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (attempts <= 1000000000) AND (lost_leases <= 1000000000))),
    CONSTRAINT deliveries_sequence_check CHECK ((sequence > 0)),
    CONSTRAINT deliveries_waiting_check CHECK (((next_attempt_at IS NOT NULL) OR ((sequence IS NOT NULL) AND (leased_by IS NULL))))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='50000', autovacuum_vacuum_cost_delay='0');

COMMENT ON COLUMN public.deliveries.scheduled_at IS 'When next_attempt_at was written.';

CREATE TABLE public.delivery_counts (
    webhook_id uuid NOT NULL,
    day date NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    ended bigint DEFAULT 0 NOT NULL,
    current bigint DEFAULT 0 NOT NULL,
    last_at timestamp with time zone NOT NULL,
    CONSTRAINT delivery_counts_status_check CHECK ((status = ANY (ARRAY['success'::text, 'failed'::text, 'cancelled'::text, 'expired'::text])))
)
WITH (fillfactor='70');

CREATE TABLE public.epoch (
    only_row boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    base bigint DEFAULT 0 NOT NULL,
    bases bigint[] DEFAULT '{0}'::bigint[] NOT NULL,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    reason text NOT NULL,
    system_identifier bigint,
    database_oid bigint,
    timeline integer,
    CONSTRAINT epoch_base_check CHECK (((base >= 0) AND (base <= '9007199254740991'::bigint))),
    CONSTRAINT epoch_check CHECK ((bases[cardinality(bases)] = base)),
    CONSTRAINT epoch_only_row_check CHECK (only_row)
);

CREATE TABLE public.events (
    "position" bigint NOT NULL,
    id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    audience text NOT NULL,
    location_ids uuid[] NOT NULL,
    category_id uuid,
    user_ids uuid[] NOT NULL,
    stock bigint,
    traceparent text,
    deliveries integer NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    item_id uuid,
    CONSTRAINT events_audience_check CHECK ((audience = ANY (ARRAY['inventory'::text, 'transfer'::text, 'checkout'::text, 'user'::text, 'other'::text])))
)
PARTITION BY RANGE (recorded_at);

COMMENT ON COLUMN public.events.deliveries IS 'How many webhooks it has been queued for: when it was fanned out, and since then by replays to webhooks that had missed it.';

CREATE SEQUENCE public.fences
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.idempotent_answers (
    user_id uuid NOT NULL,
    key_hash bytea NOT NULL,
    sealed bytea NOT NULL,
    running_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotent_answers_key_hash_check CHECK ((octet_length(key_hash) = 32))
);

CREATE TABLE public.item_orders (
    webhook_id uuid NOT NULL,
    item_id uuid NOT NULL,
    sequence bigint NOT NULL,
    head bigint,
    blocked_position bigint,
    blocked_event_at timestamp with time zone,
    not_before timestamp with time zone,
    CONSTRAINT item_orders_blocked_check CHECK ((((blocked_position IS NULL) = (blocked_event_at IS NULL)) AND ((blocked_position IS NULL) OR (head IS NULL)))),
    CONSTRAINT item_orders_check CHECK ((head <= sequence)),
    CONSTRAINT item_orders_readable_check CHECK (((not_before >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (not_before <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (sequence <= '9007199254740991'::bigint))),
    CONSTRAINT item_orders_sequence_check CHECK ((sequence >= 0))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='2000');

CREATE TABLE public.item_texts (
    item_id uuid NOT NULL,
    text text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE public.lane_wakes (
    webhook_id uuid NOT NULL
);

CREATE TABLE public.location_foremen (
    location_id uuid NOT NULL,
    user_id uuid NOT NULL
);

CREATE TABLE public.locations (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    description text,
    address text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT locations_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255)))
);

CREATE TABLE public.log_head (
    only_row boolean DEFAULT true NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    CONSTRAINT log_head_only_row_check CHECK (only_row)
);

CREATE TABLE public.login_failures (
    identifier text NOT NULL COLLATE pg_catalog."C",
    ip_address text NOT NULL COLLATE pg_catalog."C",
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT login_failures_identifier_check CHECK ((char_length(identifier) <= 254))
);

ALTER TABLE public.outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.receiver_health (
    webhook_id uuid NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    failed_events bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    opened_at timestamp with time zone,
    probe_at timestamp with time zone,
    failed_probes integer DEFAULT 0 NOT NULL,
    probe_by uuid,
    probe_until timestamp with time zone,
    probe_position bigint,
    pauses integer DEFAULT 0 NOT NULL,
    paused_until timestamp with time zone,
    tokens double precision,
    tokens_at timestamp with time zone,
    unannounced integer DEFAULT 0 NOT NULL,
    unannounced_skips integer DEFAULT 0 NOT NULL,
    announced_at timestamp with time zone,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT receiver_health_breaker_check CHECK ((((opened_at IS NULL) = (probe_at IS NULL)) AND ((probe_by IS NULL) = (probe_until IS NULL)) AND ((opened_at IS NOT NULL) OR (pauses > 0) OR (probe_by IS NULL)) AND ((opened_at IS NOT NULL) OR ((probe_position IS NULL) AND (failed_probes = 0))) AND ((opened_at IS NULL) OR (failures > 0)))),
    CONSTRAINT receiver_health_bucket_check CHECK (((tokens IS NULL) = (tokens_at IS NULL))),
    CONSTRAINT receiver_health_check CHECK (((unannounced_skips >= 0) AND (unannounced_skips <= unannounced))),
    CONSTRAINT receiver_health_failed_events_check CHECK ((cardinality(failed_events) <= 3)),
    CONSTRAINT receiver_health_failed_probes_check CHECK ((failed_probes >= 0)),
    CONSTRAINT receiver_health_failing_check CHECK ((((failures = 0) = (failing_since IS NULL)) AND ((failures > 0) OR (failed_events = '{}'::bigint[])))),
    CONSTRAINT receiver_health_failures_check CHECK ((failures >= 0)),
    CONSTRAINT receiver_health_pause_check CHECK (((pauses > 0) OR (paused_until IS NULL))),
    CONSTRAINT receiver_health_pauses_check CHECK ((pauses >= 0)),
    CONSTRAINT receiver_health_readable_check CHECK (((failing_since >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (failing_since <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (opened_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (opened_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (probe_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (probe_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (probe_until >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (probe_until <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (paused_until >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (paused_until <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (tokens_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (tokens_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (tokens <= (10000)::double precision))),
    CONSTRAINT receiver_health_tokens_check CHECK ((tokens >= (0)::double precision)),
    CONSTRAINT receiver_health_unannounced_check CHECK ((unannounced >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');

COMMENT ON COLUMN public.receiver_health.changed_at IS 'When the breaker''s and the pause''s times were written.';

CREATE TABLE public.relay_marks (
    relay_id uuid NOT NULL,
    mark uuid,
    left_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.relays (
    id uuid NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    version text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    leader boolean DEFAULT false NOT NULL,
    listen_pid integer,
    listen_start timestamp with time zone,
    in_flight integer DEFAULT 0 NOT NULL,
    delivered bigint DEFAULT 0 NOT NULL,
    attempted bigint DEFAULT 0 NOT NULL,
    poll_wakes bigint DEFAULT 0 NOT NULL,
    deliver_rate double precision DEFAULT 0 NOT NULL,
    attempt_rate double precision DEFAULT 0 NOT NULL,
    listen_number bigint DEFAULT 0 NOT NULL,
    mark uuid,
    CONSTRAINT relays_attempt_rate_check CHECK ((attempt_rate >= (0)::double precision)),
    CONSTRAINT relays_deliver_rate_check CHECK ((deliver_rate >= (0)::double precision)),
    CONSTRAINT relays_readable_check CHECK (((seen_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (seen_at <= '9999-12-31 00:00:00+00'::timestamp with time zone) AND (started_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (started_at <= '9999-12-31 00:00:00+00'::timestamp with time zone)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');

CREATE TABLE public.replay_jobs (
    id uuid DEFAULT uuidv7() NOT NULL,
    webhook_id uuid NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    wanted text NOT NULL,
    types text[],
    "position" bigint NOT NULL,
    through bigint NOT NULL,
    total bigint,
    done bigint DEFAULT 0 NOT NULL,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    CONSTRAINT replay_jobs_check CHECK ((since < until)),
    CONSTRAINT replay_jobs_check1 CHECK (("position" <= through)),
    CONSTRAINT replay_jobs_complete_check CHECK (((state <> 'done'::text) OR ("position" = through))),
    CONSTRAINT replay_jobs_done_check CHECK ((done >= 0)),
    CONSTRAINT replay_jobs_ended_check CHECK (((state = ANY (ARRAY['done'::text, 'cancelled'::text, 'failed'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT replay_jobs_error_check CHECK (((state = 'failed'::text) = (error IS NOT NULL))),
    CONSTRAINT replay_jobs_since_check CHECK (isfinite(since)),
    CONSTRAINT replay_jobs_started_check CHECK (
CASE state
    WHEN 'queued'::text THEN (started_at IS NULL)
    WHEN 'running'::text THEN (started_at IS NOT NULL)
    WHEN 'done'::text THEN (started_at IS NOT NULL)
    ELSE true
END),
    CONSTRAINT replay_jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'cancelled'::text, 'failed'::text]))),
    CONSTRAINT replay_jobs_total_check CHECK ((total >= 0)),
    CONSTRAINT replay_jobs_types_check CHECK ((cardinality(types) > 0)),
    CONSTRAINT replay_jobs_until_check CHECK (isfinite(until)),
    CONSTRAINT replay_jobs_wanted_check CHECK ((wanted = ANY (ARRAY['failed'::text, 'success'::text, 'missing'::text, 'all'::text])))
);

CREATE TABLE public.schema_definitions (
    name text NOT NULL COLLATE pg_catalog."C",
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sessions (
    id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    refresh_generation integer DEFAULT 1 NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    user_agent text,
    ip_address text,
    device_info text,
    CONSTRAINT sessions_check CHECK (((ended_at IS NULL) = (end_reason IS NULL))),
    CONSTRAINT sessions_end_reason_check CHECK ((end_reason = ANY (ARRAY['logout'::text, 'logout-all'::text, 'revoked'::text, 'refresh-reuse'::text, 'password'::text, 'suspended'::text])))
);

CREATE TABLE public.set_aside (
    seq bigint NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    location_ids uuid[],
    traceparent text,
    written_at timestamp with time zone NOT NULL,
    reason text NOT NULL,
    set_aside_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE VIEW public.shown_webhooks AS
 SELECT id,
    owner_id,
    url,
    events,
    active,
    filter_locations,
    filter_categories,
    min_stock_threshold,
    headers_sealed,
    description,
    max_retries,
    retry_delay_ms,
    retry_ladder,
    retry_delays_ms,
    timeout_ms,
    rate_per_second,
    rate_burst,
    filter_leaving,
    ordering,
    on_failure,
    disabled_at,
    disabled_reason,
    discard_through,
    created_at,
    updated_at,
        CASE
            WHEN public.lasts(overlap_until, clock_timestamp(), '7 days'::interval) THEN overlap_until
            ELSE NULL::timestamp with time zone
        END AS overlap_until
   FROM public.webhooks
  WHERE (deleted_at IS NULL);

ALTER TABLE public.stock_moves ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.stock_moves_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.subscriptions (
    event_type text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    key uuid NOT NULL,
    webhook_id uuid NOT NULL,
    CONSTRAINT subscriptions_kind_check CHECK ((kind = ANY (ARRAY['any'::text, 'location'::text, 'category'::text])))
);

CREATE TABLE public.transfers (
    id uuid DEFAULT uuidv7() NOT NULL,
    item_id uuid NOT NULL,
    from_location_id uuid NOT NULL,
    to_location_id uuid NOT NULL,
    quantity integer NOT NULL,
    reason text,
    status text DEFAULT 'pending'::text NOT NULL,
    came_from text,
    requested_by uuid NOT NULL,
    approved_by uuid,
    approved_at timestamp with time zone,
    rejected_by uuid,
    rejected_at timestamp with time zone,
    rejection_reason text,
    dispatched_by uuid,
    dispatched_at timestamp with time zone,
    completed_by uuid,
    completed_at timestamp with time zone,
    cancelled_by uuid,
    cancelled_at timestamp with time zone,
    to_item_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    open_requested_by uuid GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['pending'::text, 'approved'::text, 'in_transit'::text])) THEN requested_by
    ELSE NULL::uuid
END) STORED,
    CONSTRAINT transfers_check CHECK ((to_location_id <> from_location_id)),
    CONSTRAINT transfers_edge_check CHECK (
CASE
    WHEN (came_from IS NULL) THEN (status = 'pending'::text)
    WHEN (came_from = 'pending'::text) THEN (status = ANY (ARRAY['approved'::text, 'rejected'::text, 'cancelled'::text]))
    WHEN (came_from = 'approved'::text) THEN (status = ANY (ARRAY['in_transit'::text, 'completed'::text, 'cancelled'::text]))
    WHEN (came_from = 'in_transit'::text) THEN (status = ANY (ARRAY['completed'::text, 'cancelled'::text]))
    ELSE false
END),
    CONSTRAINT transfers_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT transfers_reason_check CHECK ((char_length(reason) <= 8000)),
    CONSTRAINT transfers_rejection_reason_check CHECK ((char_length(rejection_reason) <= 8000)),
    CONSTRAINT transfers_steps_check CHECK (((num_nulls(approved_by, approved_at) <> 1) AND (num_nulls(rejected_by, rejected_at) <> 1) AND (num_nulls(dispatched_by, dispatched_at) <> 1) AND (num_nulls(completed_by, completed_at) <> 1) AND (num_nulls(cancelled_by, cancelled_at) <> 1) AND ((approved_at IS NOT NULL) = ((status = ANY (ARRAY['approved'::text, 'in_transit'::text, 'completed'::text])) OR ((status = 'cancelled'::text) AND (came_from <> 'pending'::text)))) AND ((dispatched_at IS NOT NULL) = ((status = 'in_transit'::text) OR (NOT (came_from IS DISTINCT FROM 'in_transit'::text)))) AND ((rejected_at IS NOT NULL) = (status = 'rejected'::text)) AND ((completed_at IS NOT NULL) = (status = 'completed'::text)) AND ((cancelled_at IS NOT NULL) = (status = 'cancelled'::text)) AND ((to_item_id IS NOT NULL) = (status = 'completed'::text)) AND ((rejection_reason IS NULL) OR (status = 'rejected'::text))))
);

CREATE TABLE public.users (
    id uuid DEFAULT uuidv7() NOT NULL,
    username text NOT NULL,
    email text NOT NULL,
    full_name text NOT NULL,
    role text DEFAULT 'worker'::text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    narrowed_at timestamp with time zone,
    CONSTRAINT users_email_check CHECK (((char_length(email) >= 3) AND (char_length(email) <= 254))),
    CONSTRAINT users_full_name_check CHECK (((char_length(full_name) >= 1) AND (char_length(full_name) <= 255))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'supervisor'::text, 'foreman'::text, 'worker'::text, 'personnel'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text]))),
    CONSTRAINT users_username_check CHECK (((char_length(username) >= 3) AND (char_length(username) <= 50)))
);

CREATE TABLE public.webhook_tests (
    id uuid DEFAULT uuidv7() NOT NULL,
    webhook_id uuid NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    claimed_by uuid,
    finished_at timestamp with time zone,
    status integer,
    error text
);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.categories
    ADD CONSTRAINT categories_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.checkout_returns
    ADD CONSTRAINT checkout_returns_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (webhook_id, "position");

ALTER TABLE ONLY public.delivery_counts
    ADD CONSTRAINT delivery_counts_pkey PRIMARY KEY (webhook_id, day, status);

ALTER TABLE ONLY public.epoch
    ADD CONSTRAINT epoch_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position", recorded_at);

ALTER TABLE ONLY public.idempotent_answers
    ADD CONSTRAINT idempotent_answers_pkey PRIMARY KEY (user_id, key_hash);

ALTER TABLE ONLY public.item_orders
    ADD CONSTRAINT item_orders_pkey PRIMARY KEY (webhook_id, item_id);

ALTER TABLE ONLY public.item_texts
    ADD CONSTRAINT item_texts_pkey PRIMARY KEY (item_id);

ALTER TABLE public.items
    ADD CONSTRAINT items_check CHECK (public.check_item(items.*));

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.location_foremen
    ADD CONSTRAINT location_foremen_pkey PRIMARY KEY (location_id, user_id);

ALTER TABLE ONLY public.locations
    ADD CONSTRAINT locations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.log_head
    ADD CONSTRAINT log_head_pkey PRIMARY KEY (only_row);

ALTER TABLE public.outbox
    ADD CONSTRAINT outbox_check CHECK (public.check_event(outbox.*));

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_id_key UNIQUE (id);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.receiver_health
    ADD CONSTRAINT receiver_health_pkey PRIMARY KEY (webhook_id);

ALTER TABLE ONLY public.relay_marks
    ADD CONSTRAINT relay_marks_pkey PRIMARY KEY (relay_id);

ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.replay_jobs
    ADD CONSTRAINT replay_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_definitions
    ADD CONSTRAINT schema_definitions_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.set_aside
    ADD CONSTRAINT set_aside_pkey PRIMARY KEY (seq, id);

ALTER TABLE public.stock_moves
    ADD CONSTRAINT stock_moves_check CHECK (public.check_move(stock_moves.*));

ALTER TABLE ONLY public.stock_moves
    ADD CONSTRAINT stock_moves_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (event_type, kind, key, webhook_id);

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_tests
    ADD CONSTRAINT webhook_tests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

CREATE INDEX attempts_delivery ON ONLY public.attempts USING btree (webhook_id, "position");

CREATE INDEX attempts_event_at ON ONLY public.attempts USING brin (event_at) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX attempts_failures ON ONLY public.attempts USING btree (webhook_id, "position" DESC) WHERE ((outcome = ANY (ARRAY['failed'::text, 'cancelled'::text, 'expired'::text])) AND (retried_at IS NULL));

CREATE INDEX attempts_successes ON ONLY public.attempts USING btree (webhook_id, "position" DESC) WHERE ((outcome = 'success'::text) AND (retried_at IS NULL));

CREATE INDEX audit_action ON public.audit USING btree (action, at);

CREATE INDEX audit_actor ON public.audit USING btree (actor_id, at);

CREATE INDEX audit_at ON public.audit USING btree (at);

CREATE INDEX audit_entity ON public.audit USING btree (entity, entity_id, at);

CREATE UNIQUE INDEX categories_name_key ON public.categories USING btree (parent_id, lower(name) COLLATE "C") NULLS NOT DISTINCT;

CREATE INDEX checkout_returns_checkout_id ON public.checkout_returns USING btree (checkout_id, returned_at);

CREATE INDEX checkouts_due ON public.checkouts USING btree (expected_return_date, id) WHERE ((status = 'active'::text) AND (expected_return_date IS NOT NULL));

CREATE INDEX checkouts_handed_out ON public.checkouts USING btree (requested_by, id) WHERE (requested_by <> user_id);

CREATE INDEX checkouts_item_id ON public.checkouts USING btree (item_id, id);

CREATE INDEX checkouts_open_destination_id ON public.checkouts USING btree (open_destination_id) WHERE (open_destination_id IS NOT NULL);

CREATE INDEX checkouts_open_item_id ON public.checkouts USING btree (open_item_id) WHERE (open_item_id IS NOT NULL);

CREATE INDEX checkouts_open_requested_by ON public.checkouts USING btree (open_requested_by) WHERE (open_requested_by IS NOT NULL);

CREATE INDEX checkouts_open_user_id ON public.checkouts USING btree (open_user_id) WHERE (open_user_id IS NOT NULL);

CREATE INDEX checkouts_status ON public.checkouts USING btree (status, id);

CREATE INDEX checkouts_user_id ON public.checkouts USING btree (user_id, id);

CREATE INDEX deliveries_lane ON public.deliveries USING btree (webhook_id, next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE UNIQUE INDEX deliveries_order ON public.deliveries USING btree (webhook_id, item_id, sequence) WHERE (sequence IS NOT NULL);

CREATE INDEX deliveries_suspects ON public.deliveries USING btree (webhook_id) WHERE (lost_leases >= 4);

CREATE INDEX events_id ON ONLY public.events USING btree (id);

CREATE INDEX idempotent_answers_created_at ON public.idempotent_answers USING btree (created_at);

CREATE UNIQUE INDEX item_orders_blocked ON public.item_orders USING btree (webhook_id, blocked_position) WHERE (blocked_position IS NOT NULL);

CREATE INDEX item_texts_search ON public.item_texts USING gin (text public.gin_trgm_ops) WITH (fastupdate=off);

CREATE INDEX items_by_created_at ON public.items USING btree (created_at, id);

CREATE INDEX items_by_name ON public.items USING btree (lower(name) COLLATE "C", id);

CREATE INDEX items_by_purchase_date ON public.items USING btree (COALESCE(purchase_date, '-infinity'::date), id);

CREATE INDEX items_by_quantity ON public.items USING btree (quantity, id);

CREATE INDEX items_by_sku ON public.items USING btree (lower(COALESCE(sku, ''::text)) COLLATE "C", id);

CREATE INDEX items_by_updated_at ON public.items USING btree (updated_at, id);

CREATE INDEX items_category_id ON public.items USING btree (category_id);

CREATE INDEX items_condition ON public.items USING btree (condition) WHERE (condition <> 'good'::text);

CREATE INDEX items_location_id ON public.items USING btree (location_id);

CREATE INDEX items_low_stock ON public.items USING btree (id) WHERE (quantity < min_quantity);

CREATE INDEX items_name ON public.items USING btree (name COLLATE "C") WHERE (sku IS NULL);

CREATE UNIQUE INDEX items_serial_number_key ON public.items USING btree (serial_number COLLATE "C") WHERE (serial_number IS NOT NULL);

CREATE INDEX items_sku ON public.items USING btree (sku COLLATE "C") WHERE (sku IS NOT NULL);

CREATE UNIQUE INDEX items_sku_key ON public.items USING btree (location_id, sku COLLATE "C") NULLS NOT DISTINCT WHERE (sku IS NOT NULL);

CREATE INDEX items_status ON public.items USING btree (status) WHERE (status <> 'available'::text);

CREATE INDEX location_foremen_user_id ON public.location_foremen USING btree (user_id);

CREATE UNIQUE INDEX locations_name_key ON public.locations USING btree (lower(name) COLLATE "C");

CREATE INDEX login_failures_at ON public.login_failures USING btree (at);

CREATE INDEX login_failures_who ON public.login_failures USING btree (identifier, ip_address, at);

CREATE INDEX replay_jobs_ended_at ON public.replay_jobs USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX replay_jobs_open ON public.replay_jobs USING btree (created_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE INDEX replay_jobs_webhook_id ON public.replay_jobs USING btree (webhook_id, created_at);

CREATE INDEX sessions_over ON public.sessions USING btree (COALESCE(ended_at, expires_at));

CREATE INDEX sessions_user_id ON public.sessions USING btree (user_id, created_at);

CREATE INDEX set_aside_id ON public.set_aside USING btree (id);

CREATE INDEX stock_moves_item_id ON public.stock_moves USING btree (item_id, seq);

CREATE INDEX stock_moves_reference_id ON public.stock_moves USING btree (reference_id) WHERE (reference_id IS NOT NULL);

CREATE INDEX subscriptions_webhook_id ON public.subscriptions USING btree (webhook_id);

CREATE INDEX transfers_from_location_id ON public.transfers USING btree (from_location_id, id);

CREATE INDEX transfers_item_id ON public.transfers USING btree (item_id, id);

CREATE INDEX transfers_open_requested_by ON public.transfers USING btree (open_requested_by) WHERE (open_requested_by IS NOT NULL);

CREATE INDEX transfers_requested_by ON public.transfers USING btree (requested_by, id);

CREATE INDEX transfers_status ON public.transfers USING btree (status, id);

CREATE INDEX transfers_to_location_id ON public.transfers USING btree (to_location_id, id);

CREATE UNIQUE INDEX users_email_key ON public.users USING btree (lower((email COLLATE "C")));

CREATE UNIQUE INDEX users_username_key ON public.users USING btree (lower((username COLLATE "C")));

CREATE INDEX webhook_tests_under_way ON public.webhook_tests USING btree (expires_at) WHERE (finished_at IS NULL);

CREATE INDEX webhooks_discarding ON public.webhooks USING btree (id) WHERE (discard_through > 0);

CREATE INDEX webhooks_in_order ON public.webhooks USING btree (id) WHERE (ordering IS NOT NULL);

CREATE INDEX webhooks_owner_id ON public.webhooks USING btree (owner_id, id);

CREATE TRIGGER items_write_text_of_changed AFTER UPDATE ON public.items FOR EACH ROW WHEN (((old.name IS DISTINCT FROM new.name) OR (old.sku IS DISTINCT FROM new.sku) OR (old.serial_number IS DISTINCT FROM new.serial_number) OR (old.description IS DISTINCT FROM new.description))) EXECUTE FUNCTION public.write_text_of_changed_item();

CREATE TRIGGER items_write_texts_of_new AFTER INSERT ON public.items REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION public.write_texts_of_new_items();

CREATE CONSTRAINT TRIGGER lane_wakes_ring AFTER INSERT ON public.lane_wakes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((NOT public.leader_is_awake())) EXECUTE FUNCTION public.ring();

CREATE TRIGGER location_foremen_narrow AFTER DELETE ON public.location_foremen REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.narrow_on_unassignment();

CREATE CONSTRAINT TRIGGER outbox_ring AFTER INSERT ON public.outbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((NOT public.leader_is_awake())) EXECUTE FUNCTION public.ring();

CREATE TRIGGER relays_keep_mark AFTER DELETE ON public.relays FOR EACH ROW EXECUTE FUNCTION public.keep_mark();

CREATE TRIGGER users_narrow_on_role BEFORE UPDATE OF role ON public.users FOR EACH ROW WHEN ((new.role <> old.role)) EXECUTE FUNCTION public.narrow_on_role();

CREATE TRIGGER webhooks_add_receiver_health AFTER INSERT ON public.webhooks FOR EACH ROW EXECUTE FUNCTION public.add_receiver_health();

CREATE TRIGGER webhooks_derive_subscriptions AFTER INSERT OR UPDATE OF events, filter_locations, filter_categories, filter_leaving, active, deleted_at ON public.webhooks FOR EACH ROW EXECUTE FUNCTION public.derive_subscriptions();

CREATE TRIGGER webhooks_renew_version BEFORE UPDATE OF version ON public.webhooks FOR EACH ROW EXECUTE FUNCTION public.renew_version();

ALTER TABLE ONLY public.categories
    ADD CONSTRAINT categories_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES public.categories(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.checkout_returns
    ADD CONSTRAINT checkout_returns_checkout_id_fkey FOREIGN KEY (checkout_id) REFERENCES public.checkouts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_open_destination_id_fkey FOREIGN KEY (open_destination_id) REFERENCES public.locations(id);

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_open_item_id_fkey FOREIGN KEY (open_item_id) REFERENCES public.items(id);

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_open_requested_by_fkey FOREIGN KEY (open_requested_by) REFERENCES public.users(id);

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_open_user_id_fkey FOREIGN KEY (open_user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.delivery_counts
    ADD CONSTRAINT delivery_counts_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.item_orders
    ADD CONSTRAINT item_orders_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.item_texts
    ADD CONSTRAINT item_texts_item_id_fkey FOREIGN KEY (item_id) REFERENCES public.items(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_category_id_fkey FOREIGN KEY (category_id) REFERENCES public.categories(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_location_id_fkey FOREIGN KEY (location_id) REFERENCES public.locations(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.location_foremen
    ADD CONSTRAINT location_foremen_location_id_fkey FOREIGN KEY (location_id) REFERENCES public.locations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.location_foremen
    ADD CONSTRAINT location_foremen_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.receiver_health
    ADD CONSTRAINT receiver_health_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.replay_jobs
    ADD CONSTRAINT replay_jobs_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_open_requested_by_fkey FOREIGN KEY (open_requested_by) REFERENCES public.users(id) NOT VALID;

ALTER TABLE ONLY public.webhook_tests
    ADD CONSTRAINT webhook_tests_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);
