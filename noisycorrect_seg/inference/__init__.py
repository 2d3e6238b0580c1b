"""Inference: whole images, folders of them, and figures over a data set."""

from noisycorrect_seg.inference.evaluate import evaluate_source
from noisycorrect_seg.inference.folder import FolderReport, parse_files, parse_folder
from noisycorrect_seg.inference.parse import Parsing, Recipe, parse_image, parse_images
from noisycorrect_seg.inference.people import PeopleParsing, Person, parse_people
from noisycorrect_seg.inference.tiles import parse_scene

__all__ = [
    "FolderReport",
    "Parsing",
    "PeopleParsing",
    "Person",
    "Recipe",
    "evaluate_source",
    "parse_files",
    "parse_folder",
    "parse_image",
    "parse_images",
    "parse_people",
    "parse_scene",
]
