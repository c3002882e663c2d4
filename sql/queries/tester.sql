-- name: claim_tests
-- Claims tests that may start, at most `most`. A webhook has at most four tests under way, and its
-- other tests wait. Owners take turns: the first test of each owner comes before any owner's
-- second. Slots beyond `shared` are for owners who have no test under way.
with unfinished as materialized (
  select t.id, t.requested_at, t.claimed_by is null as open, w.owner_id,
         row_number() over (partition by t.webhook_id order by t.claimed_by is null, t.requested_at, t.id) as of_webhook
    from webhook_tests as t
    join webhooks as w on w.id = t.webhook_id
   where t.finished_at is null and lasts(t.expires_at, now(), '75 seconds')
),
turn as (
  select id, open, requested_at, row_number() over (partition by owner_id order by open, requested_at, id) as of_owner
    from unfinished
   where of_webhook <= 4
),
allowed as (
  select id, place
    from (select id, of_owner, row_number() over (order by of_owner, requested_at, id) as place from turn where open) as next
   where of_owner = 1 or place <= :shared::int
   order by place
   limit :most::int
)
update webhook_tests as t
   set claimed_by = :relay_id
  from (select asked.id
          from webhook_tests as asked
          join allowed on allowed.id = asked.id
         where asked.claimed_by is null
         order by allowed.place
           for update of asked skip locked) as next
 where t.id = next.id
returning t.id, t.webhook_id, clock_timestamp() as claimed_at;

-- name: finish_test
update webhook_tests
   set finished_at = now(), status = :status, error = :error
 where id = :id and claimed_by = :relay_id;
