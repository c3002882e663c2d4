-- What a POST with an Idempotency-Key was answered, kept so that the same request can be answered again without being done again.

create table idempotent_answers (
  -- No foreign key: it would lock the user's row at the end of each such request. Rows are gone within a day or so.
  user_id       uuid        not null,
  key_hash      bytea       not null check (octet_length(key_hash) = 32),
  -- AES-256-GCM, bound to user and key: what was asked and, once it is known, what was answered.
  sealed        bytea       not null,
  -- Set while a request runs that could not be put into one transaction with its answer. Past it, the request may be tried again.
  running_until timestamptz,
  created_at    timestamptz not null default now(),
  primary key (user_id, key_hash)
);
create index idempotent_answers_created_at on idempotent_answers (created_at);
