-- Whether something still lasts. Nothing can last longer than `longest` from now: a later end was
-- written by a clock that was ahead. `now` may be the time when a slow statement began, so an end
-- that was set since then lasts as well. The function names nothing of ours, so it needs no
-- search_path of its own, which would keep it from being inlined.
create or replace function public.lasts(until timestamptz, now timestamptz, longest interval) returns boolean
language sql volatile parallel safe
as $$
  select until > now and until <= greatest(now, clock_timestamp()) + longest
$$;
