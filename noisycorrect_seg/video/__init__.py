"""Videos: parsed frame by frame, averaged along the motion, one identity a person; their masks as training data."""

from noisycorrect_seg.video.averaging import Averaging
from noisycorrect_seg.video.flicker import Flicker, flicker
from noisycorrect_seg.video.flow import Farneback
from noisycorrect_seg.video.folder import ParsedVideo
from noisycorrect_seg.video.identity import Tracker
from noisycorrect_seg.video.parse import ParsedFrame, parse_frames, parse_video
from noisycorrect_seg.video.pseudo import PseudoMasks, pseudo_masks
from noisycorrect_seg.video.soft import SoftPseudoMasks
from noisycorrect_seg.video.writing import Clip

__all__ = [
    "Averaging",
    "Clip",
    "Farneback",
    "Flicker",
    "ParsedFrame",
    "ParsedVideo",
    "PseudoMasks",
    "SoftPseudoMasks",
    "Tracker",
    "flicker",
    "parse_frames",
    "parse_video",
    "pseudo_masks",
]
