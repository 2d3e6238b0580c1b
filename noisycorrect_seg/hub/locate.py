"""From a name, a file, a folder or a repository to a file of weights."""

from __future__ import annotations

import os
import re
from pathlib import Path

from noisycorrect.saved.weights import SAFETENSORS
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.log import logger
from noisycorrect_seg.hub.folder import CONFIG, Described, described_by, read_folder
from noisycorrect_seg.hub.released import RELEASED
from noisycorrect_seg.hub.remote import file_of_repo

_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def located(source: str | os.PathLike[str], revision: str | None = None) -> Described:
    """Return where weights lie, on this disk, and what is said of them.

    Parameters
    ----------
    source : str or path-like
        A name in :data:`~noisycorrect_seg.hub.RELEASED`; a file; a folder of ``save_pretrained``; or a repository on
        the Hugging Face hub, ``"owner/name"``. What is on the disk goes before a repository; a file that is called as
        the table's names are is ``"./lip"``.
    revision : str, optional
        Branch, tag or commit of a repository.

    Raises
    ------
    InvalidInputError
        If it is none of these, or there is a revision of what is no repository.
    CheckpointError
        If something is damaged or cannot be reached.
    """
    named = RELEASED.get(source) if isinstance(source, str) else None
    path = Path(source)
    remote = named is not None or (isinstance(source, str) and not path.exists() and _REPO.fullmatch(source))
    if revision is not None and not remote:
        raise InvalidInputError("revision= with a repository", got=f"{source}", fix="leave it out")
    if named is not None:
        logger.info("%s: %s of %s, a copy of the authors' %s", source, named.repo_file, named.repo, named.file)
        weights = file_of_repo(
            named.repo, named.repo_file, revision=revision, sha256=named.sha256, otherwise=named.by_hand
        )
        assert weights is not None
        return Described(weights, None, named.classes, named.size)
    if path.is_dir():
        return read_folder(path)
    if path.exists():
        return Described(path)
    if remote:
        config = file_of_repo(str(source), CONFIG, revision=revision, optional=True)
        weights = file_of_repo(str(source), SAFETENSORS, revision=revision)
        assert weights is not None
        return described_by(config, weights)
    if path.suffix or len(path.parts) > 1:
        raise InvalidInputError(
            f"a file or folder of weights at {source}", got="no such file", fix=f"check the path; {_names()}"
        )
    raise unknown_name("name of weights, file, folder or repository", str(source), RELEASED)


def _names() -> str:
    return f"by name there are {', '.join(map(repr, RELEASED))}, and repositories owner/name"
