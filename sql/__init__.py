"""The SQL: migrations, named queries, audits. A package, so that an installed Jossiedb finds them."""
