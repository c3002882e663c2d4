-- A UUID that begins with the time to the microsecond (RFC 9562, section 6.2, method 3), so that
-- ids sort by when they were made. PostgreSQL 18 has a function of this name, which does the same
-- and is found first. PostgreSQL 15 to 17 use this one.
create or replace function public.uuidv7() returns uuid
language sql volatile parallel safe
as $$
  select encode(
    overlay(uuid_send(gen_random_uuid())
            -- 48 bits of milliseconds, the version, and 12 bits for the part of a millisecond.
            placing int8send((us / 1000) << 16 | x'7000'::bigint | (us % 1000) * 4096 / 1000)
            from 1 for 8),
    'hex')::uuid
    from floor(extract(epoch from clock_timestamp()) * 1000000) as at(time),
         cast(time as bigint) as us
$$;
