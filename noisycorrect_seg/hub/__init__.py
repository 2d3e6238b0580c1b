"""Weights by name: what others have released, where it lies, and folders and repositories of one's own."""

from noisycorrect_seg.hub.card import model_card
from noisycorrect_seg.hub.folder import Described, read_folder, write_folder
from noisycorrect_seg.hub.locate import located
from noisycorrect_seg.hub.released import RELEASED, ReleasedWeights, released_for
from noisycorrect_seg.hub.remote import file_of_repo, push_folder

__all__ = [
    "RELEASED",
    "Described",
    "ReleasedWeights",
    "file_of_repo",
    "located",
    "model_card",
    "push_folder",
    "read_folder",
    "released_for",
    "write_folder",
]
