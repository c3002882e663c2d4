-- name: newest
-- The greatest position and its event's id.
select position, id from events order by position desc limit 1;
