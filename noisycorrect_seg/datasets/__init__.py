"""Data sets of people and the parts they are made of: readers of the public ones, one's own folder, training crops."""

from noisycorrect_seg.datasets.ccp import CCP
from noisycorrect_seg.datasets.class_file import read_classes
from noisycorrect_seg.datasets.crops import GivenMasks, ParsingDataset, denormalise, normalise
from noisycorrect_seg.datasets.film import MovingPeople
from noisycorrect_seg.datasets.folder import Folder
from noisycorrect_seg.datasets.named import source_named
from noisycorrect_seg.datasets.public import ATR, CIHP, LIP, PascalPersonPart
from noisycorrect_seg.datasets.source import Cached, FileSource, ParsingSource, SourceView, Subset
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.inputs import MEAN_BGR, STD_BGR

__all__ = [
    "ATR",
    "CCP",
    "CIHP",
    "LIP",
    "MEAN_BGR",
    "STD_BGR",
    "Cached",
    "FileSource",
    "Folder",
    "GivenMasks",
    "MovingPeople",
    "ParsingDataset",
    "ParsingSource",
    "PascalPersonPart",
    "SourceView",
    "Subset",
    "SyntheticPeople",
    "denormalise",
    "normalise",
    "read_classes",
    "source_named",
]
