-- What goes first after a pause is a probe like that of an open breaker: a lease that other relays see, so that one at a time goes
-- whoever claims it. Which delivery goes as the next one, and how many have failed, is a matter of open breakers only, as before.

alter table lanes
  drop constraint lanes_breaker_check,
  add constraint lanes_breaker_check check (
    (opened_at is null) = (probe_at is null)
    and (probe_by is null) = (probe_until is null)
    and (opened_at is not null or pauses > 0 or probe_by is null)
    and (opened_at is not null or (probe_position is null and failed_probes = 0))
    and (opened_at is null or failures > 0));
