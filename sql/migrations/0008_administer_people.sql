-- Administering people: who has a history is suspended and not removed; rights that shrink are looked at again before anything is
-- sent; the audit trail and the sessions that are over can be read, and forgotten, by index.

-- A removed owner would take the webhook along and leave its queue to nobody.
alter table webhooks drop constraint webhooks_owner_id_fkey;
alter table webhooks add constraint webhooks_owner_id_fkey foreign key (owner_id) references users;

-- When the user's rights last changed in a way that may have taken some away. What is queued for their webhooks was matched with
-- the rights of that moment, so from then on each delivery is looked at once more when it is claimed. Null: never.
alter table users add column narrowed_at timestamptz;

-- By triggers, so that it is right whoever writes, psql included.
create function narrow_on_role() returns trigger
language plpgsql
as $$
begin
  new.narrowed_at := now();
  return new;
end
$$;

create trigger users_narrow_on_role
  before update of role on users
  for each row when (new.role <> old.role) execute function narrow_on_role();

create function narrow_on_unassignment() returns trigger
language plpgsql
as $$
begin
  -- In the order of their ids, so that two of these never wait for each other.
  perform from users where id in (select user_id from gone) order by id for no key update;
  update users set narrowed_at = now() where id in (select user_id from gone);
  return null;
end
$$;

create trigger location_foremen_narrow
  after delete on location_foremen referencing old table as gone
  for each statement execute function narrow_on_unassignment();

-- Sessions by when they were over, however they came to be.
create index sessions_over on sessions (coalesce(ended_at, expires_at));

create index audit_actor on audit (actor_id, at);
create index audit_action on audit (action, at);

-- Logins that failed, counted by what was typed and where from, so that nobody can lock others out of their account.
create table login_failures (
  identifier text        not null check (char_length(identifier) <= 254),
  ip_address text        not null,
  at         timestamptz not null default now()
);
create index login_failures_who on login_failures (identifier, ip_address, at);
create index login_failures_at on login_failures (at);
