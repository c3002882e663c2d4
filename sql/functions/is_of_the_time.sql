-- Whether a UUIDv7 was made within a day of the time beside it.
-- Stored: the CHECK of outbox uses it, by check_event. PostgreSQL does not check rows again when
-- the text changes.
create or replace function public.is_of_the_time(id uuid, written_at timestamptz) returns boolean
language plpgsql immutable strict parallel safe
as $$
begin
  return abs(('x' || substr(translate(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0::float8
             - extract(epoch from written_at)::float8) <= 86400;
end
$$;
