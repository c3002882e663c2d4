"""How fast it is, as ratios of interleaved runs: `make bench`. docs/PERFORMANCE.md says how to read it."""
