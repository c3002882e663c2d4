-- Fan-out, all of it: moves the oldest events from the outbox into the log, in order, queues a
-- delivery for each webhook that matches, and leases as many deliveries to the leader as it has
-- slots for. It takes at most `batch` events. If the outbox holds at most `few`, they go one by
-- one, because a statement for a batch of any size takes longer to set up than one event takes
-- (docs/adr/0028).
--
-- `release_first`: the doorbell's lock is held; release it before looking. `patience_ms`: first
-- wait at most this long for writers in flight. `sleep_if_idle`: take the doorbell's lock again if
-- nothing is left; fall_asleep() has snapshots of its own, and sees what has been moved.
-- `most`, `per_webhook`: slots for leases, in all and in each lane. `crowded`: the ids of webhooks
-- and of owners for which nothing is leased, because they have deliveries that wait, or enough in
-- flight (class Offer in relay/claim/slots.py).
--
-- The leases are in webhook_ids, positions, fences and versions. The columns event_positions to
-- traceparents have the content of their events. `lanes` have something due that was not leased.
-- `seen`: how many rows of the outbox it looked at; `more`: there may be more; `stuck`: some of
-- them cannot be moved as they are.
create or replace function public.fan_out(
  batch integer, few integer, patience_ms integer, release_first boolean, sleep_if_idle boolean,
  class_id integer, object_id integer, relay_id uuid, most integer, per_webhook integer, crowded uuid[],
  out events bigint, out deliveries bigint, out lanes uuid[],
  out webhook_ids uuid[], out positions bigint[], out fences bigint[], out versions bigint[],
  out event_positions bigint[], out event_ids uuid[], out event_types text[], out datas text[],
  out occurred_ats timestamptz[], out traceparents text[],
  out seen bigint, out more boolean, out stuck boolean, out wakes boolean, out state text,
  out claimed_at timestamptz, out event_at timestamptz
)
language plpgsql volatile
set search_path = pg_catalog, public, pg_temp
as $$
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
