"""Recording what attempts led to: results, health of receivers, order, notices."""
