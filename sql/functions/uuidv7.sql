-- A UUID whose beginning is the time, so that ids sort by when they were made. PostgreSQL 18 has a
-- function of this name, which is found first; 15 to 17 use this one.
create or replace function public.uuidv7() returns uuid
language sql volatile parallel safe
as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
              from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid
$$;
