-- name: ask
-- The epoch, whether it is known on this server, and whether the process's mark is there. A relay's
-- mark is the value that its last confirmed beat wrote, or that of a beat without a reply. The
-- service's mark is the greatest position that it saw, with its event's id. `event_found` is null
-- if that part of the log has been dropped.
select e.id, e.base, e.system_identifier is null and e.database_oid is null as unknown,
       coalesce(e.system_identifier is distinct from s.system_identifier and s.system_identifier is not null, false)
       or e.database_oid is distinct from s.database_oid or e.timeline is distinct from s.timeline as moved,
       pg_is_in_recovery() as standby,
       exists (select from relays as r where r.id = :relay_id::uuid and r.mark = any (:marks::uuid[]))
       or exists (select from relay_marks as r where r.relay_id = :relay_id and r.mark = any (:marks)) as mark_found,
       case when :position::bigint > h.position then false
            when (select min(position) from events) <= :position
            then exists (select from events where events.position = :position and events.id = :event_id::uuid) end as event_found,
       clock_timestamp() as now
  from epoch as e
 cross join log_head as h
 cross join server_identity() as s;

-- name: recognise
-- The server has changed, or was not known yet, but the past is the same.
update epoch
   set system_identifier = s.system_identifier, database_oid = s.database_oid, timeline = s.timeline
  from server_identity() as s
 where epoch.id = :id
   and (epoch.system_identifier, epoch.database_oid, epoch.timeline)
       is distinct from (s.system_identifier, s.database_oid, s.timeline);

-- name: begin
select begin_epoch(:expected::uuid, :above::bigint, :why, :if_moved::boolean);

-- name: present
select id, base, begun_at, reason from epoch;
