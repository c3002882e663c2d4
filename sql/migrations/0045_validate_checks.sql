-- The rows that were there before 0044. This lock lets others read and write meanwhile.
alter table public.outbox validate constraint outbox_check;
alter table public.items validate constraint items_check;
alter table public.stock_moves validate constraint stock_moves_check;
