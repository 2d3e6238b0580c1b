"""What every room uses: errors, checks, files, random numbers, ranks, progress, modules."""
