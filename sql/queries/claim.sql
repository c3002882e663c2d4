-- name: claim
-- Leases due deliveries of the given lanes to a relay: at most `shares` of each lane and `most` in
-- all. The rows are the leases.
--
-- `floors` says where to begin in each lane. The deliveries before that are gone, but while an old
-- snapshot is open, their index entries would still be read. `suspects`: take only deliveries that
-- have lost five leases, because they may be the ones that crash relays. Otherwise take only the
-- others. `wait_seconds` says when to look again at a lane of which nothing, or nothing more, may
-- be claimed yet. It may stand in a row without a delivery.
--
-- An end too far ahead was written by a clock that was ahead, and counts as over. For a lease or a
-- probe that is under way, that is more than 75 s: the longest timeout of 60 s, 10 s more, and 5 s
-- for claims that run beside each other. For a pause or the next probe, it is more than 25 h.
with clock as (
  -- Nobody waits for this commit. If a crash of the server undoes the claim, it is made again, and
  -- results of the first claim are superseded. A later record of a result flushes all commits
  -- before it.
  select coalesce(:now::timestamptz, clock_timestamp()) as now, set_config('synchronous_commit', 'off', true) as unhurried
),
lane as (
  -- 1. The lanes that may be claimed from. If this relay is not listed, there are none.
  select l.webhook_id, l.share, l.floor, l.number, w.timeout_ms, w.version, w.owner_id, w.discard_through, w.rate_per_second,
         w.rate_burst, u.role, u.narrowed_at, s.opened_at is not null or s.pauses > 0 or w.rate_per_second is not null as limited,
         w.ordering is not null as in_order
    from unnest(:webhook_ids::uuid[], :shares::int[], :floors::timestamptz[]) with ordinality
         as l (webhook_id, share, floor, number)
    join webhooks as w on w.id = l.webhook_id
    join users as u on u.id = w.owner_id
    join receiver_health as s on s.webhook_id = l.webhook_id
   where w.active and w.deleted_at is null and u.status = 'active'
     and exists (select from relays as r where r.id = :relay_id)
),
held as (
  -- 2. Locks the health of the lanes that are limited by a breaker, a pause or a rate. If two
  -- relays claim at the same moment, one gets the probe and the tokens, and the other skips the
  -- lane.
  select s.*
    from receiver_health as s
   where s.webhook_id in (select webhook_id from lane where limited)
     for no key update skip locked
),
state as (
  -- 3. The present limits of each of these lanes.
  select h.webhook_id, h.opened_at is not null as open, h.pauses > 0 as slowed,
         least(h.probe_at, case when h.probe_at > clock.now + interval '25 hours' then clock.now end) as probe_at,
         case when lasts(h.paused_until, clock.now, '25 hours') then h.paused_until end as paused_until,
         case when lasts(h.probe_until, clock.now, '75 seconds') and exists (select from relays as r where r.id = h.probe_by)
              then h.probe_until end as probe_until,
         -- A manual retry goes as the probe if it is queued and due.
         case when h.opened_at is not null
              then (select d.position from deliveries as d
                     where d.webhook_id = h.webhook_id and d.position = h.probe_position and d.next_attempt_at <= clock.now) end
           as probe_position,
         tokens_now(h.tokens, h.tokens_at, l.rate_per_second, l.rate_burst, clock.now) as tokens
    from held as h
    join lane as l on l.webhook_id = h.webhook_id
   cross join clock
),
allowed as (
  -- 4. How many deliveries each lane may give. An open breaker allows one, as the probe, when the
  -- probe is due. A pause allows none while it lasts. After it, one at a time is allowed, also as a
  -- probe. A rate allows as many as it has tokens.
  select l.*, s.open, s.probe_position, s.tokens, s.slowed, s.webhook_id is not null as held, s.probe_at, s.probe_until,
         s.paused_until,
         case when not l.limited then l.share
              when s.webhook_id is null then 0
              when s.open then (s.probe_until is null and (s.probe_at <= clock.now or s.probe_position is not null))::int
              when s.paused_until > clock.now then 0
              else least(l.share, case when s.slowed then (s.probe_until is null)::int end, floor(s.tokens)::int)
         end as room
    from lane as l
    left join state as s on s.webhook_id = l.webhook_id
   cross join clock
),
picked as (
  -- 5. The deliveries: of each lane, the soonest that have no lease or a void one.
  select due.webhook_id, due.position, a.timeout_ms, a.version, a.owner_id, a.role, a.narrowed_at, a.limited,
         a.open or a.slowed as probing, a.tokens
    from allowed as a
   cross join clock
   cross join lateral (
     select d.webhook_id, d.position
       from deliveries as d
      where d.webhook_id = a.webhook_id
        and d.next_attempt_at <= clock.now
        and d.next_attempt_at >= coalesce(a.floor, '-infinity')
        and d.position > a.discard_through
        and (a.probe_position is null or d.position = a.probe_position)
        and (d.leased_by is null or not lasts(d.lease_until, clock.now, '75 seconds')
             or not exists (select from relays as r where r.id = d.leased_by))
        and (d.lost_leases + (d.leased_by is not null)::int >= 5) = :suspects
      order by d.next_attempt_at
      limit a.room
        for update skip locked
   ) as due
   order by a.number
   limit :most
),
claimed as (
  -- 6. Leases them. Each lease draws a new fence, so a result of an older lease cannot be taken for
  -- this one's.
  update deliveries as d
     set leased_by = :relay_id,
         lease_until = clock.now + make_interval(secs => p.timeout_ms / 1000.0 + 10),
         fence = nextval('fences'),
         lost_leases = d.lost_leases + (d.leased_by is not null)::int,
         lost_by = coalesce(d.leased_by, d.lost_by)
    from picked as p cross join clock
   where d.webhook_id = any (array[p.webhook_id]) and d.position >= p.position and d.position <= p.position
  returning d.webhook_id, d.position, d.event_id, d.event_type, d.event_at, d.attempts, d.attempts_before, d.fence,
            d.lost_leases, d.lost_by, d.next_attempt_at, d.item_id, d.sequence, p.version, p.owner_id, p.role, p.narrowed_at,
            coalesce(p.probing, false) as probe, clock.now as claimed_at
),
used as (
  -- 7. Writes down which probes and tokens this claim used.
  update receiver_health as s
     set probe_by = case when n.probing then :relay_id end,
         probe_until = case when n.probing then clock.now + make_interval(secs => n.timeout_ms / 1000.0 + 10) end,
         probe_position = null,
         tokens = case when n.tokens is not null then greatest(n.tokens - n.rows, 0) end,
         tokens_at = case when n.tokens is not null then clock.now end
    from (select webhook_id, probing, tokens, timeout_ms, count(*) as rows from picked where limited group by 1, 2, 3, 4) as n
   cross join clock
   where s.webhook_id = n.webhook_id
),
limited_until as (
  -- 8. When a limited lane may give more. A lane that was allowed some and gave none is left out:
  -- it had nothing due, and a hint will say when it has. Or the lanes before it gave `most`, and
  -- then the relay asks it again.
  select a.webhook_id,
         greatest(0.001, case
           when not a.held then 0.1
           when a.open then extract(epoch from coalesce(a.probe_until, greatest(a.probe_at, clock.now)) - clock.now)
                            + case when a.room > 0 then a.timeout_ms / 1000.0 + 10 else 0 end
           when a.paused_until > clock.now then extract(epoch from a.paused_until - clock.now)
           when a.slowed then 1
           else (1 - (a.tokens - floor(a.tokens))) / a.rate_per_second end)::float8 as seconds
    from allowed as a
   cross join clock
   where a.limited and a.room < a.share
     and (a.room = 0 or a.webhook_id in (select webhook_id from picked))
),
waits_for_item as (
  -- 9. When a lane in order has something due, if the whole lane was looked at and nothing was
  -- found. The next delivery of an item may have to wait until the lease of a discarded one has run
  -- out.
  select a.webhook_id, extract(epoch from due.next_attempt_at - clock.now)::float8 as seconds
    from allowed as a
   cross join clock
   cross join lateral (
     select d.next_attempt_at
       from deliveries as d
      where d.webhook_id = a.webhook_id and d.next_attempt_at > clock.now
      order by d.next_attempt_at
      limit 1
   ) as due
   where a.in_order and a.floor is null and not (a.limited and a.room < a.share)
     and a.webhook_id not in (select webhook_id from picked)
     and (select count(*) from picked) < :most
),
waiting as (
  select * from limited_until union all select * from waits_for_item
)
-- The first columns are the fields of a Lease, in their order.
select coalesce(c.webhook_id, n.webhook_id) as webhook_id, c.position, c.fence, c.event_id, c.event_type, c.event_at, c.attempts,
       c.attempts_before, c.lost_leases, c.lost_by, e.data, e.occurred_at, e.traceparent, c.item_id, c.sequence,
       -- Fan-out has checked this. Check again only for owners whose rights have shrunk since.
       c.narrowed_at is null or may_read(c.role, c.owner_id, e.audience, e.location_ids, e.user_ids) as readable,
       c.probe, c.version, c.claimed_at, c.next_attempt_at as due_at, n.seconds as wait_seconds
  from claimed as c
  full join waiting as n on n.webhook_id = c.webhook_id
  left join lateral (
    -- `offset 0` makes this a lookup for each delivery instead of a join with the log. Times that
    -- Python cannot represent become null.
    select data, case when occurred_at between '0001-01-01Z' and '9999-12-31 23:59:59.999999Z' then occurred_at end as occurred_at,
           traceparent, audience, location_ids, user_ids
      from events
     where position = c.position and recorded_at = c.event_at
    offset 0
  ) as e on true
 order by c.next_attempt_at, c.position;

-- name: suspects
-- Lanes with a due delivery that has lost five leases, counting one that is void now. Lanes that a
-- claim could not take it from are left out, because a relay sends nothing else while it claims a
-- suspect.
select distinct webhook_id
  from (select d.webhook_id
          from deliveries as d
          join webhooks as w on w.id = d.webhook_id
          join users as u on u.id = w.owner_id
          join receiver_health as s on s.webhook_id = d.webhook_id
         cross join (select coalesce(:now::timestamptz, clock_timestamp()) as now) as clock
         where d.lost_leases >= 4
           and w.active and w.deleted_at is null and u.status = 'active' and d.position > w.discard_through
           and (s.opened_at is null or not lasts(s.probe_at, clock.now, '25 hours') or d.position = s.probe_position)
           and (s.opened_at is not null or s.paused_until is null or not lasts(s.paused_until, clock.now, '25 hours'))
           and d.lost_leases + (d.leased_by is not null)::int >= 5
           and d.next_attempt_at <= clock.now
           and (d.leased_by is null or not lasts(d.lease_until, clock.now, '75 seconds')
                or not exists (select from relays as r where r.id = d.leased_by))
         limit 100) as due;

-- name: sweep
-- The next lanes after a webhook, in the order of their ids, each with the time of its soonest
-- delivery. It reads one index entry a lane.
with recursive lane as (
  (select d.webhook_id, d.next_attempt_at, 1 as number
     from deliveries as d
    where d.webhook_id > :after::uuid and d.next_attempt_at is not null
    order by d.webhook_id, d.next_attempt_at
    limit 1)
  union all
  select next.webhook_id, next.next_attempt_at, lane.number + 1
    from lane
   cross join lateral (
     select d.webhook_id, d.next_attempt_at
       from deliveries as d
      where d.webhook_id > lane.webhook_id and d.next_attempt_at is not null
      order by d.webhook_id, d.next_attempt_at
      limit 1
   ) as next
   where lane.number < :most
)
select webhook_id,
       greatest(extract(epoch from next_attempt_at - coalesce(:now::timestamptz, clock_timestamp())), 0)::float8 as due_in
  from lane;

-- name: soonest
-- When the next delivery of each of these lanes is due, without those that were due `ago` seconds
-- ago. It reads one index entry a lane.
select lane.webhook_id, extract(epoch from due.next_attempt_at - clock.now)::float8 as due_in
  from unnest(:webhook_ids::uuid[]) as lane (webhook_id)
  join webhooks as w on w.id = lane.webhook_id and w.active and w.deleted_at is null
 cross join (select coalesce(:now::timestamptz, clock_timestamp()) as now) as clock
 cross join lateral (
   select d.next_attempt_at
     from deliveries as d
    where d.webhook_id = lane.webhook_id and d.next_attempt_at > clock.now - make_interval(secs => :ago) and d.leased_by is null
    order by d.next_attempt_at
    limit 1
 ) as due;
