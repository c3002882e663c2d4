-- Waits until no other transaction counts the failed logins of this name from this address, but no
-- longer than a second. After a second, the failure is counted out of turn, so the count may be
-- less exact.
create or replace function public.await_login_turn(identifier text, ip_address text) returns void
language plpgsql volatile
set lock_timeout = '1s'
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
    'login ' || pg_catalog.lower(identifier collate "C") || ' ' || ip_address, 0));
exception when others then
  raise warning 'a failed login is counted out of turn: %', sqlerrm;
end
$$;
