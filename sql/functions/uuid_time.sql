-- The moment at which a UUIDv7 was made, to the millisecond.
create or replace function public.uuid_time(id uuid) returns timestamptz
language sql immutable strict parallel safe
as $$
  select to_timestamp(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;
