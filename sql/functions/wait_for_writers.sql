-- Waits for writers in flight: until the doorbell's lock is granted, but at most `patience_ms`.
-- Releases the lock at once. A writer that begins during the wait is refused the lock, and rings.
create or replace function public.wait_for_writers(patience_ms integer, class_id integer, object_id integer) returns void
language plpgsql volatile
as $$
begin
  perform pg_catalog.set_config('lock_timeout', patience_ms::text, true);
  begin
    -- Trap: the lock may be granted just as the time runs out, and PostgreSQL still raises the
    -- error. Undoing the block releases the lock in both cases.
    perform pg_catalog.pg_advisory_xact_lock(class_id, object_id);
    raise exception 'granted' using errcode = 'JD001';
  exception when lock_not_available or sqlstate 'JD001' then
    null;
  end;
  perform pg_catalog.set_config('lock_timeout', '0', true);
end
$$;
