-- Nothing asks for them any more. By themselves, as this keeps readers of the items waiting: not while other indexes are made.
drop index public.items_name_search;
drop index public.items_sku_search;
