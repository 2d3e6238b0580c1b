"""What lies in the folders of runs and of saved results, and networks made of it again."""
