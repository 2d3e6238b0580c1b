"""Human parsing with self-correction: presets, rows, plan, cells, tables and pictures of `benchmarks.lip`."""
