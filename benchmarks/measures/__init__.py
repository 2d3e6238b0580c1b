"""What `python -m benchmarks.speed` measures."""
