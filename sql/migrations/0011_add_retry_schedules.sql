-- A webhook may name its retries one by one instead of by a first delay that doubles, and say what it is for.

alter table webhooks
  add column description text check (char_length(description) <= 500),
  -- The ladder by its name, so that webhooks that chose it follow when it is mended.
  add column retry_ladder text check (retry_ladder = 'standard'),
  add column retry_delays_ms integer[]
    check (cardinality(retry_delays_ms) >= 1 and cardinality(retry_delays_ms) <= 20
           and array_position(retry_delays_ms, null) is null
           and 100 <= all (retry_delays_ms) and 86400000 >= all (retry_delays_ms)),
  add constraint webhooks_retry_schedule_check check (
    num_nonnulls(retry_ladder, retry_delays_ms) <= 1 and (retry_delays_ms is null or max_retries = cardinality(retry_delays_ms)));
