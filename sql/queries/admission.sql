-- name: limit_statements
-- In time, and to one process each: the server would give three to what reads a whole table. For this transaction only, so that it
-- holds, and ends, behind a pooler too.
select set_config('statement_timeout', :milliseconds::int::text, true), set_config('max_parallel_workers_per_gather', '0', true);
