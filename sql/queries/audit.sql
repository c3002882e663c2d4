-- name: count_entries
select count(*)
  from (select
          from audit
         where (:actor_id::uuid is null or actor_id = :actor_id)
           and (:entity::text is null or entity = :entity)
           and (:entity_id::uuid is null or entity_id = :entity_id)
           and (:action::text is null or action = :action)
           and (:since::timestamptz is null or at >= :since)
           and (:until::timestamptz is null or at < :until)
         limit :most::bigint) as counted;

-- name: list_entries
select entry.id, entry.at, entry.actor_id, actor.username, entry.action, entry.entity, entry.entity_id, entry.before, entry.after,
       entry.ip_address, entry.request_id, entry.event_ids
  from audit as entry
  left join users as actor on actor.id = entry.actor_id
 where (:actor_id::uuid is null or entry.actor_id = :actor_id)
   and (:entity::text is null or entry.entity = :entity)
   and (:entity_id::uuid is null or entry.entity_id = :entity_id)
   and (:action::text is null or entry.action = :action)
   and (:since::timestamptz is null or entry.at >= :since)
   and (:until::timestamptz is null or entry.at < :until)
   and (entry.at, entry.id) < (:before_at::timestamptz, :before_id::uuid)
 order by entry.at desc, entry.id desc
offset :skip limit :limit;
