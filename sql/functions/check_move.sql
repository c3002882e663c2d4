-- Whether a row of stock_moves is one that the rules allow. Raises check_violation with the name of
-- the rule that the row breaks.
-- Stored: the CHECK of stock_moves calls it, as check_event.sql says.
create or replace function public.check_move(move public.stock_moves) returns boolean
language plpgsql immutable
as $$
begin
  if move.reason not in ('created', 'counted', 'transfer', 'checkout', 'checkin', 'deleted') then
    raise check_violation using constraint = 'stock_moves_reason_check', table = 'stock_moves',
      message = 'stock_moves_reason_check: a reason is created, counted, transfer, checkout, checkin or deleted';
  end if;
  if move.delta = 0 and move.reason not in ('created', 'deleted') then
    raise check_violation using constraint = 'stock_moves_delta_check', table = 'stock_moves',
      message = 'stock_moves_delta_check: only the first and the last move of an item may move nothing';
  end if;
  if (move.reference_id is not null) <> (move.reason in ('transfer', 'checkout', 'checkin')) then
    raise check_violation using constraint = 'stock_moves_reference_id_check', table = 'stock_moves',
      message = 'stock_moves_reference_id_check: a transfer, a checkout and a checkin name their object, and nothing else does';
  end if;
  return true;
end
$$;
