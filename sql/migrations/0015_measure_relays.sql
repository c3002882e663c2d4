-- How fast each relay is, so that whoever lists them sees it without asking twice. The relay reckons it between its beats: a total
-- says how much there was since it started, and not whether it is busy now.

alter table relays
  add column deliver_rate float8 not null default 0 check (deliver_rate >= 0),
  add column attempt_rate float8 not null default 0 check (attempt_rate >= 0);
