-- What a relay says of an attempt, as one value: results are recorded in batches, and two dozen arrays beside one another cost the
-- relay twice as much to write, and PostgreSQL twice as much to read, as one array of these.

create type attempt_result as (
  webhook_id uuid,
  position bigint,
  fence bigint,
  event_id uuid,
  event_type text,
  event_at timestamptz,
  attempt int,
  outcome text,
  retry_ms bigint,
  lost_by uuid,
  url text,
  request_headers text,
  started_at timestamptz,
  dns_us int,
  connect_us int,
  tls_us int,
  first_byte_us int,
  total_us int,
  status int,
  response_headers bytea,
  response_body bytea,
  error text,
  item_id uuid,
  sequence bigint
);
