"""What users have as map-style data sets, and batches that know their labels."""
