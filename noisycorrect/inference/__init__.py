"""Using a model that a run has returned: predictions for new inputs, and a file for other programs."""
