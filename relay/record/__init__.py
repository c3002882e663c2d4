"""What came of attempts: results, health of receivers, order, notices."""
