-- name: begin
-- Sets the settings of a new session, for as long as it lasts. One of them is a mark. If the
-- server's session has a mark already, it was another client's before. Then nothing is set.
with before as materialized (
  select nullif(current_setting('jossiedb.session', true), '') as mark
)
select before.mark is not null as marked,
       pg_backend_pid() as pid,
       array_agg(set_config(setting.name, setting.value, false) order by setting.number) filter (where before.mark is null)
         as in_force
  from before
 cross join unnest(:names::text[], :values::text[]) with ordinality as setting (name, value, number)
 group by before.mark;

-- name: in_force
select array_agg(coalesce(current_setting(setting.name, true), '') order by setting.number)
  from unnest(:names::text[]) with ordinality as setting (name, number);
