"""Code without a domain, for both programs: settings, database, errors, clocks, logs."""
