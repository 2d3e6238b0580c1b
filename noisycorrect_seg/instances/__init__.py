"""People in pictures: boxes, which pixels are whose, and how well both are found."""

from noisycorrect_seg.instances.boxes import Window, box_overlaps, boxes_of
from noisycorrect_seg.instances.scores import PeopleMetrics

__all__ = ["PeopleMetrics", "Window", "box_overlaps", "boxes_of"]
