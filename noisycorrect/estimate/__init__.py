"""How many given labels are wrong, and which classes are confused: from labels and evidence, with intervals."""

from noisycorrect.estimate.likelihood import fit_transition
from noisycorrect.estimate.noise import NoiseEstimate, check_has_evidence, estimate_noise, estimate_store_noise

__all__ = ["NoiseEstimate", "check_has_evidence", "estimate_noise", "estimate_store_noise", "fit_transition"]
