"""One thread a test process: two processes share two cores."""

import torch

torch.set_num_threads(1)

# Importing them imports what takes seconds, and need not be installed; tests/integrations has their examples.
collect_ignore = ["noisycorrect/integrations/lightning.py", "noisycorrect/integrations/transformers.py"]
