"""What `benchmarks.soak` is made of: runs, what is done to them, and what must come of it."""
