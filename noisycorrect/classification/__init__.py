"""Classification: the task, and noise models for class labels."""
