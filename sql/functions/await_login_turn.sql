-- Waits until this transaction alone counts the failed logins of a name from an address, but no
-- longer than a second. Those who try while somebody holds the lock for longer are counted less
-- exactly.
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
