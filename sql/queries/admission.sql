-- name: limit_statements
-- Limits statements in time, and to one process each: for one that reads a whole table, the server
-- would use three. It does so for this transaction only, so that it also holds, and ends, behind a
-- pooler.
select set_config('statement_timeout', :milliseconds::int::text, true), set_config('max_parallel_workers_per_gather', '0', true);
