-- A webhook's secret can be exchanged. Until overlap_until, deliveries are signed with the secret before it, too.

alter table webhooks
  add column previous_secret_sealed bytea,
  add column overlap_until          timestamptz check (isfinite(overlap_until)),
  add constraint webhooks_overlap_check check ((previous_secret_sealed is null) = (overlap_until is null));
