"""What evidence says of the given labels: issues, noise rate, verdict."""
