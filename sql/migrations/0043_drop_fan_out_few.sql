-- fan_out takes its place, in sql/functions.
drop function public.fan_out_few(integer, integer, boolean, boolean, integer, integer, uuid, integer, uuid[]);
