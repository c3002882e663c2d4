"""The benchmarks of `make bench`. docs/PERFORMANCE.md says how to read their results."""
