"""The PostgreSQL server that is started while DATABASE_URL is unset."""
