-- Whether something still lasts. Nothing can last longer than `longest` from now: a later end was
-- written by a clock that was ahead. It names nothing but operators, so it needs no search_path of
-- its own, which would keep it from being inlined.
create or replace function public.lasts(until timestamptz, now timestamptz, longest interval) returns boolean
language sql stable parallel safe
as $$
  select until > now and until <= now + longest
$$;
