-- A relay reads many rows by one statement. A value that makes the statement fail, or that Python cannot express (a time before the year
-- 1 or after 9999), fails it for all of them. So tables that relays read in batches refuse such values. What is there already is brought
-- within the bounds.

update deliveries
   set next_attempt_at = least(greatest(next_attempt_at, '0001-01-01Z'), '9999-12-31Z'),
       event_at = least(greatest(event_at, '0001-01-01Z'), '9999-12-31Z'),
       attempts = least(attempts, 1000000000),
       attempts_before = least(attempts_before, attempts, 1000000000),
       lost_leases = least(lost_leases, 1000000000)
 where next_attempt_at not between '0001-01-01Z' and '9999-12-31Z'
    or event_at not between '0001-01-01Z' and '9999-12-31Z'
    or attempts > 1000000000
    or lost_leases > 1000000000;
alter table deliveries
  add constraint deliveries_readable_check check (
    next_attempt_at >= '0001-01-01Z' and next_attempt_at <= '9999-12-31Z' and event_at >= '0001-01-01Z' and event_at <= '9999-12-31Z'
    and attempts <= 1000000000 and lost_leases <= 1000000000);

-- A lane that cannot be read begins anew.
update lanes
   set failures = 0, failing_since = null, failed_events = '{}', opened_at = null, probe_at = null, failed_probes = 0,
       probe_by = null, probe_until = null, probe_position = null, pauses = 0, paused_until = null, tokens = null, tokens_at = null
 where failing_since not between '0001-01-01Z' and '9999-12-31Z'
    or opened_at not between '0001-01-01Z' and '9999-12-31Z'
    or probe_at not between '0001-01-01Z' and '9999-12-31Z'
    or probe_until not between '0001-01-01Z' and '9999-12-31Z'
    or paused_until not between '0001-01-01Z' and '9999-12-31Z'
    or tokens_at not between '0001-01-01Z' and '9999-12-31Z'
    or tokens > 10000;
alter table lanes
  add constraint lanes_readable_check check (
    failing_since >= '0001-01-01Z' and failing_since <= '9999-12-31Z' and opened_at >= '0001-01-01Z' and opened_at <= '9999-12-31Z'
    and probe_at >= '0001-01-01Z' and probe_at <= '9999-12-31Z' and probe_until >= '0001-01-01Z' and probe_until <= '9999-12-31Z'
    and paused_until >= '0001-01-01Z' and paused_until <= '9999-12-31Z' and tokens_at >= '0001-01-01Z' and tokens_at <= '9999-12-31Z'
    and tokens <= 10000);

-- An item's sequence that cannot be raised, or that JavaScript cannot read, would fail the fan-out of its event for every webhook.
update item_orders
   set not_before = null, sequence = least(sequence, 9007199254740991), head = least(head, sequence, 9007199254740991)
 where not_before not between '0001-01-01Z' and '9999-12-31Z' or sequence > 9007199254740991;
alter table item_orders
  add constraint item_orders_readable_check check (
    not_before >= '0001-01-01Z' and not_before <= '9999-12-31Z' and sequence <= 9007199254740991);

delete from relays where seen_at not between '0001-01-01Z' and '9999-12-31Z' or started_at not between '0001-01-01Z' and '9999-12-31Z';
alter table relays
  add constraint relays_readable_check check (
    seen_at >= '0001-01-01Z' and seen_at <= '9999-12-31Z' and started_at >= '0001-01-01Z' and started_at <= '9999-12-31Z');

-- A sequence can be set back, and then numbers a row as one that was set aside before. That must not keep the new one in the queue.
alter table set_aside drop constraint set_aside_pkey, add constraint set_aside_pkey primary key (seq, id);
