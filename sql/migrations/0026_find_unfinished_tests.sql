-- How many tests of a webhook are under way is asked before another is begun.

create index webhook_tests_unfinished on webhook_tests (webhook_id) where finished_at is null;
