"""From a file of doubtful labels to a clean one: reading tables and folders, features, training, what is written."""
