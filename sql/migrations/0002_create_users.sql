-- People and their sessions.

create table users (
  id            uuid        not null default uuidv7() primary key,
  username      text        not null check (char_length(username) between 3 and 50),
  email         text        not null check (char_length(email) between 3 and 254),
  full_name     text        not null check (char_length(full_name) between 1 and 255),
  role          text        not null default 'worker'
                            check (role in ('admin', 'supervisor', 'foreman', 'worker', 'personnel')),
  status        text        not null default 'active' check (status in ('active', 'suspended')),
  password_hash text        not null,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now()
);
create unique index users_username_key on users (lower(username));
create unique index users_email_key on users (lower(email));

create table sessions (
  id                 uuid        not null default uuidv7() primary key,
  user_id            uuid        not null references users on delete cascade,
  created_at         timestamptz not null default now(),
  last_used_at       timestamptz not null default now(),
  expires_at         timestamptz not null,
  -- Each refresh raises it; a refresh token of an earlier generation has been used twice and ends the session.
  refresh_generation integer     not null default 1,
  ended_at           timestamptz,
  end_reason         text        check (end_reason in ('logout', 'logout-all', 'revoked', 'refresh-reuse', 'password', 'suspended')),
  user_agent         text,
  ip_address         text,
  device_info        text,
  check ((ended_at is null) = (end_reason is null))
);
create index sessions_user_id on sessions (user_id, created_at);
