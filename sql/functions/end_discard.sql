-- Removes a webhook's discard mark, and returns whether it did. The mark may go only when every
-- delivery that it covers has ended: one that is put back later must not fall under it.
create or replace function public.end_discard(webhook_id uuid) returns boolean
language plpgsql volatile
as $$
begin
  update public.webhooks as w
     set discard_through = 0
   where w.id = end_discard.webhook_id
     and not exists (select from public.deliveries as d where d.webhook_id = w.id and d.position <= w.discard_through);
  return found;
end
$$;
