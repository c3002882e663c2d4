-- What the statement fan_out does, for at most `few` events: a row for each that was moved, and one
-- at the end, without a position, that sums up. If there are more events, if some cannot be moved
-- as they are, or if webhooks ask for order, nothing is moved, `moved` is null in that row, and the
-- doorbell's lock is not held. Deliveries are leased as there, but up to `most` in all of whatever
-- lanes: each lane that is not crowded, nor its owner, must have room for `few`.
-- `patience_ms`: first waits at most this long for writers in flight, until the doorbell's lock is
-- granted, and releases it at once; that ended at `claimed_at`. Whoever begins to write meanwhile
-- is refused the lock, and rings.
create or replace function public.fan_out_few(
  few integer, patience_ms integer, asleep boolean, sleepy boolean, class_id integer, object_id integer,
  relay_id uuid, most integer, crowded uuid[]
) returns table (
  "position" bigint, id uuid, type text, data text, occurred_at timestamptz, traceparent text,
  deliveries bigint, lanes uuid[], webhook_ids uuid[], fences bigint[], versions bigint[],
  moved integer, claimed_at timestamptz, event_at timestamptz, wakes boolean, state text
)
language plpgsql volatile
set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
declare
  this outbox;
  seqs bigint[];
  stuck boolean;
  ordered boolean;
  woken boolean;
  gone integer := 0;
  left_over integer := most;
begin
  if asleep then
    perform pg_advisory_unlock(class_id, object_id);
  end if;
  if patience_ms > 0 then
    perform set_config('lock_timeout', patience_ms::text, true);
    begin
      -- It may be granted just as the time runs out, and still be an error: whatever was granted goes as the block is undone.
      perform pg_advisory_xact_lock(class_id, object_id);
      raise exception 'granted' using errcode = 'JD001';
    exception when lock_not_available or sqlstate 'JD001' then
      null;
    end;
    perform set_config('lock_timeout', '0', true);
  end if;
  claimed_at := clock_timestamp();
  event_at := now();
  select exists (select from lane_wakes), exists (select from webhooks where ordering is not null), oldest.seqs, oldest.stuck
    into woken, ordered, seqs, stuck
    from (select array_agg(o.seq order by o.seq) as seqs,
                 bool_or(o.audience is null
                         or (select true from events as e
                              where e.id = o.id and e.recorded_at >= uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
                              limit 1) is not null) as stuck
            from (select seq, id, audience from outbox order by seq limit few + 1) as o) as oldest;
  position := null;
  if ordered or stuck or cardinality(seqs) > few then
    return next;
    return;
  end if;
  for number in 1 .. coalesce(cardinality(seqs), 0) loop
    delete from outbox where seq = seqs[number] returning * into this;
    continue when not found;
    update log_head set position = log_head.position + 1 returning log_head.position into position;
    with matching as materialized (
      select w.*
        from subscribed(this.type, this.location_ids, this.category_id) as s
       cross join lateral (
         select w.id, w.timeout_ms, w.version, w.ordering,
                exists (select from relays as r where r.id = relay_id)
                and w.rate_per_second is null and u.status = 'active' and w.id <> all (crowded) and w.owner_id <> all (crowded)
                and (select l.opened_at is null and l.pauses = 0 from lanes as l where l.webhook_id = w.id) as leasable
           from webhooks as w
           join users as u on u.id = w.owner_id
          where w.id = s.webhook_id
            and w.active
            and w.deleted_at is null
            and webhook_wants(w, u.role, this.type, this.audience, this.location_ids, this.category_id, this.user_ids, this.stock)
         offset 0
       ) as w
    ),
    due as materialized (
      select m.id, m.timeout_ms, m.version, m.ordering,
             case when m.leasable and count(*) filter (where m.leasable) over (rows unbounded preceding) <= left_over
                  then nextval('fences') end as fence
        from matching as m
    ),
    queued as (
      insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at, leased_by, lease_until, fence)
      select d.id, position, this.id, this.type, now(), now(),
             case when d.fence is not null then relay_id end,
             case when d.fence is not null then claimed_at + make_interval(secs => d.timeout_ms / 1000.0 + 10) end,
             d.fence
        from due as d
    )
    select count(*), array_agg(d.id) filter (where d.fence is null), array_agg(d.id) filter (where d.fence is not null),
           array_agg(d.fence) filter (where d.fence is not null), array_agg(d.version) filter (where d.fence is not null),
           bool_or(d.ordering is not null)
      into deliveries, lanes, webhook_ids, fences, versions, ordered
      from due as d;
    if ordered then
      -- Since it was looked whether any does.
      raise exception 'a webhook asks for order now' using errcode = 'serialization_failure';
    end if;
    insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, category_id, user_ids, stock,
                        item_id, traceparent, deliveries)
    values (position, this.id, this.seq, this.type, this.data, this.occurred_at, this.audience, this.location_ids,
            this.category_id, this.user_ids, this.stock, this.item_id, this.traceparent, deliveries);
    id := this.id;
    type := this.type;
    data := this.data;
    occurred_at := this.occurred_at;
    traceparent := this.traceparent;
    gone := gone + 1;
    left_over := left_over - coalesce(cardinality(fences), 0);
    return next;
  end loop;
  position := null;
  moved := gone;
  wakes := woken;
  if sleepy then
    state := fall_asleep(class_id, object_id);
  end if;
  return next;
end
$$;
