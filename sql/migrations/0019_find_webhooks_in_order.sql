-- Whether any webhook asks for order is looked up with every look at the outbox, so that fan-out without any costs nothing for it.

create index webhooks_in_order on webhooks (id) where ordering is not null;
