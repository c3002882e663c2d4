-- What an event is about may be written beside it by who writes it, so that fan-out need not read it out of the data first. Who has
-- written `audience` has written all of it, and stands for `data` being as JavaScript would write it. Without, the relay sees to it.

alter table outbox
  add column audience    text,
  add column category_id uuid,
  add column user_ids    uuid[],
  add column stock       bigint,
  add column item_id     uuid,
  add constraint outbox_audience_check check (audience in ('inventory', 'transfer', 'checkout', 'user', 'other')),
  add constraint outbox_routed_check check (
    case when audience is null then category_id is null and user_ids is null and stock is null and item_id is null
         else location_ids is not null and user_ids is not null end);
