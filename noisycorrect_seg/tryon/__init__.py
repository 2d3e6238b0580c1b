"""What virtual try-on needs of a parsed photo: garments cut out, and pictures of people without them."""

from noisycorrect_seg.tryon.agnostic import Agnostic, agnostic_mask
from noisycorrect_seg.tryon.cutout import CutOut, cut_out
from noisycorrect_seg.tryon.garments import GARMENTS

__all__ = ["GARMENTS", "Agnostic", "CutOut", "agnostic_mask", "cut_out"]
