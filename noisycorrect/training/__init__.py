"""One run: its state, its folder, and running a model over batches."""
