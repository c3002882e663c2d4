-- Whether a row of items is one that the rules allow. Raises check_violation with the name of the
-- rule that the row breaks.
-- Stored: the CHECK of items calls it, as check_event.sql says.
create or replace function public.check_item(item public.items) returns boolean
language plpgsql immutable
as $$
begin
  if not (char_length(item.name) between 1 and 255) then
    raise check_violation using constraint = 'items_name_check', table = 'items',
      message = 'items_name_check: a name has 1 to 255 characters';
  end if;
  if not (char_length(item.sku) between 1 and 100) then
    raise check_violation using constraint = 'items_sku_check', table = 'items',
      message = 'items_sku_check: a sku has 1 to 100 characters';
  end if;
  if not (char_length(item.serial_number) between 1 and 100) then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number has 1 to 100 characters';
  end if;
  if char_length(item.description) > 8000 then
    raise check_violation using constraint = 'items_description_check', table = 'items',
      message = 'items_description_check: a description has at most 8000 characters';
  end if;
  if item.quantity < 0 or item.reserved_quantity < 0 or item.min_quantity < 0 then
    raise check_violation using constraint = 'items_quantity_check', table = 'items',
      message = 'items_quantity_check: no quantity is negative';
  end if;
  if item.reserved_quantity > item.quantity then
    raise check_violation using constraint = 'items_reserved_quantity_check', table = 'items',
      message = 'items_reserved_quantity_check: no more units are reserved than there are';
  end if;
  if item.serial_number is not null and item.quantity > 1 then
    raise check_violation using constraint = 'items_serial_number_check', table = 'items',
      message = 'items_serial_number_check: a serial number names one unit';
  end if;
  if item.condition not in ('new', 'excellent', 'good', 'fair', 'poor', 'damaged') then
    raise check_violation using constraint = 'items_condition_check', table = 'items',
      message = 'items_condition_check: a condition is new, excellent, good, fair, poor or damaged';
  end if;
  if item.status not in ('available', 'checked_out', 'maintenance', 'retired', 'lost') then
    raise check_violation using constraint = 'items_status_check', table = 'items',
      message = 'items_status_check: a status is available, checked_out, maintenance, retired or lost';
  end if;
  if json_typeof(item.attributes) <> 'object' then
    raise check_violation using constraint = 'items_attributes_check', table = 'items',
      message = 'items_attributes_check: attributes are a JSON object';
  end if;
  return true;
end
$$;
