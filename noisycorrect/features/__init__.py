"""Doors without training: evidence about labels from features that somebody already has."""
