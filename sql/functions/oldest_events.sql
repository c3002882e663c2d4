-- The oldest rows of the outbox, and which of them are stuck. Stuck rows cannot be moved as they
-- are: their writer has not stored the subject, or the log has their id already. The time in an id
-- bounds where in the log the id can be.
-- Trap: each id is looked up by itself. A list of ids would be compared with whole partitions, if
-- the planner takes them to be small.
create or replace function public.oldest_events(most integer) returns table (seq bigint, stuck boolean)
language sql stable parallel safe
as $$
  select o.seq,
         o.audience is null
         or (select true from public.events as e
              where e.id = o.id and e.recorded_at >= public.uuid_time(o.id) - interval '1 day' and e.recorded_at <= now()
              limit 1) is not null
    from (select seq, id, audience from public.outbox order by seq limit most) as o
$$;
