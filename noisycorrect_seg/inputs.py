"""What every network is shown: images normalised with ImageNet's constants, blue first."""

from __future__ import annotations

# On values / 255, in the order blue, green, red: what the published SCHP networks take.
MEAN_BGR = (0.406, 0.456, 0.485)
STD_BGR = (0.225, 0.224, 0.229)
