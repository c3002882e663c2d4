-- The id that stands for leaving a location. departure() in service/delivery/subject.py makes the
-- same. It is a UUID of version 8 (RFC 9562), which no location has.
-- Stored: webhooks.location_keys and the events in the log are made with it. A changed text would
-- not change them.
create or replace function public.departure(location_id uuid) returns uuid
language sql immutable strict parallel safe
return overlay(overlay(left(encode(sha256(convert_to('leaves ' || location_id::text, 'UTF8')), 'hex'), 32)
                       placing '8' from 13) placing '8' from 17)::uuid;
