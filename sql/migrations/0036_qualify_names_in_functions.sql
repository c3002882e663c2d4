-- What a function names is found whatever the search_path of the session that calls it. A trigger's function runs in the session of
-- whoever writes the row: psql's, with another path, or pg_restore's, with none.

-- Off the hot path: the function brings its own path. Setting and resetting it takes some microseconds at each call.
alter function derive_subscriptions() set search_path = pg_catalog, public, pg_temp;
alter function open_lane() set search_path = pg_catalog, public, pg_temp;
alter function narrow_on_unassignment() set search_path = pg_catalog, public, pg_temp;
alter function fall_asleep(integer, integer) set search_path = pg_catalog, public, pg_temp;
do $$
declare
  fan_out_few regprocedure;
begin
  -- Whatever its arguments are by now.
  for fan_out_few in select oid from pg_proc where pronamespace = 'public'::regnamespace and proname = 'fan_out_few' loop
    execute format('alter function %s set search_path = pg_catalog, public, pg_temp', fan_out_few);
  end loop;
end
$$;

-- PostgreSQL puts no function with a path of its own into the statement that calls it, so these name the schema instead. They stay
-- as they are otherwise.
do $$
declare
  definition text;
begin
  for definition in
    select pg_get_functiondef(oid)
      from pg_proc
     where pronamespace = 'public'::regnamespace
       and proname in ('may_read', 'subscribed', 'webhook_wants', 'replayable', 'ring_after_statement')
  loop
    definition := regexp_replace(
      definition,
      '\m(from|join)\s+(attempts|deliveries|events|location_foremen|subscriptions|users|webhooks)\M', '\1 public.\2', 'g');
    execute regexp_replace(definition, '(?<!\.)\m(may_read|ring|webhook_wants)\(', 'public.\1(', 'g');
  end loop;
end
$$;
