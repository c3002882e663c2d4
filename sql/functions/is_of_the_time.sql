-- Whether a UUIDv7 was made within a day of the time beside it.
-- Stored: a CHECK of outbox uses it. PostgreSQL does not check rows again when the text changes.
-- A CHECK is prepared anew for each statement, and a function in SQL would be parsed and inlined
-- each time. That took a fifth of the time of writing an event, so this one is in PL/pgSQL.
create or replace function public.is_of_the_time(id uuid, written_at timestamptz) returns boolean
language plpgsql immutable strict parallel safe
as $$
begin
  return abs(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0::float8
             - extract(epoch from written_at)::float8) <= 86400;
end
$$;
