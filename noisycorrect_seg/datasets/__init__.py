"""Data sets of people and the parts they are made of: readers of the public ones, one's own folder, training crops."""

from noisycorrect_seg.datasets.ccp import CCP
from noisycorrect_seg.datasets.class_file import read_classes
from noisycorrect_seg.datasets.colours import ColourTable, read_colour_file
from noisycorrect_seg.datasets.crops import GivenMasks, ParsingDataset, denormalise, normalise
from noisycorrect_seg.datasets.film import MovingPeople
from noisycorrect_seg.datasets.folder import Folder
from noisycorrect_seg.datasets.joined import Joined, Pictures, Remapped, Unlabeled, unlabeled_source
from noisycorrect_seg.datasets.mhp import MHP
from noisycorrect_seg.datasets.named import source_named
from noisycorrect_seg.datasets.person_crops import CorrectedPeople, PersonCrops, put_back
from noisycorrect_seg.datasets.public import ATR, CIHP, LIP, PascalPersonPart
from noisycorrect_seg.datasets.scenes import SyntheticScenes
from noisycorrect_seg.datasets.source import Cached, FileSource, InstanceSource, ParsingSource, SourceView, Subset
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.datasets.tiles import Tiles
from noisycorrect_seg.inputs import MEAN_BGR, STD_BGR

__all__ = [
    "ATR",
    "CCP",
    "CIHP",
    "LIP",
    "MEAN_BGR",
    "MHP",
    "STD_BGR",
    "Cached",
    "ColourTable",
    "CorrectedPeople",
    "FileSource",
    "Folder",
    "GivenMasks",
    "InstanceSource",
    "Joined",
    "MovingPeople",
    "ParsingDataset",
    "ParsingSource",
    "PascalPersonPart",
    "PersonCrops",
    "Pictures",
    "Remapped",
    "SourceView",
    "Subset",
    "SyntheticPeople",
    "SyntheticScenes",
    "Tiles",
    "Unlabeled",
    "denormalise",
    "normalise",
    "put_back",
    "read_classes",
    "read_colour_file",
    "source_named",
    "unlabeled_source",
]
