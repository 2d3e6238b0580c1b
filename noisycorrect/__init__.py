"""noisycorrect: training on labels you cannot trust."""
