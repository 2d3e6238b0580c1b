"""Masks and probabilities in the classes of another data set."""

from noisycorrect_seg.class_maps.concepts import CONCEPTS
from noisycorrect_seg.class_maps.maps import ClassMap, class_map
from noisycorrect_seg.class_maps.translation import Translation, translate

__all__ = ["CONCEPTS", "ClassMap", "Translation", "class_map", "translate"]
