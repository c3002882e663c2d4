-- name: newest
-- The greatest position of the log, and the id of its event.
select position, id from events order by position desc limit 1;
