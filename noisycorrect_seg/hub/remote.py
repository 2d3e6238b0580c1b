"""Files of repositories on the Hugging Face hub, by its own client: resumed if broken off, kept, and checked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from noisycorrect.support.errors import CheckpointError, InvalidInputError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def client(purpose: str, otherwise: str) -> Any:
    """Return the package huggingface_hub.

    Raises
    ------
    InvalidInputError
        If it is missing: the message says for what it is needed, and what else can be done.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        fix = f"pip install 'noisycorrect[hub]'; or {otherwise}"
        raise InvalidInputError(f"the package huggingface_hub, to {purpose}", got="none", fix=fix) from error
    return huggingface_hub


def file_of_repo(
    repo: str,
    name: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    optional: bool = False,
    otherwise: str = "download it in a browser, and pass its path",
) -> Path | None:
    """Return a file of a repository, downloaded unless it lies in the client's cache already.

    Broken downloads are taken up again. The file is compared with `sha256`, and with the digest that the hub states for
    it, each time: a cache can be damaged.

    Parameters
    ----------
    repo, name : str
        ``"owner/name"``, and the file in it.
    revision : str, optional
        Branch, tag or commit; default: the main branch. Only a commit names the same bytes for ever.
    sha256 : str, optional
        What the file has to be.
    optional : bool
        Return None if the repository has no such file.
    otherwise : str
        What messages say can be done without the hub.

    Raises
    ------
    InvalidInputError
        If the client is missing, or there is no such repository, revision or file.
    CheckpointError
        If nothing can be reached, or the file is another than it should be.
    """
    hub = client(f"download {name} of {repo}", otherwise)
    errors = hub.errors
    try:
        path = Path(hub.hf_hub_download(repo, name, revision=revision))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError) as error:
        raise InvalidInputError(
            f"a repository {repo!r} on the hub" + ("" if revision is None else f" with a revision {revision!r}"),
            got=_first_line(error),
            fix="check its name; for a private or gated one: hf auth login",
        ) from error
    except errors.LocalEntryNotFoundError as error:  # offline, or the hub is down
        raise _unreachable(repo, name, error, otherwise) from error
    except errors.EntryNotFoundError as error:
        if optional:
            return None
        raise InvalidInputError(
            f"a file {name} in {repo}", got="none", fix="name a repository that save_pretrained or push made"
        ) from error
    except (errors.HFValidationError, ValueError) as error:
        raise InvalidInputError("a repository, owner/name", got=_first_line(error), fix="check its name") from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(repo, name, error, otherwise) from error
    check_digest(path, sha256, of=f"{name} of {repo}")
    stated = path.resolve().name  # where the client can link, a large file lies under its digest
    check_digest(path, stated if _SHA256.fullmatch(stated) else None, of=f"{name} of {repo}")
    return path


def check_digest(path: Path, sha256: str | None, *, of: str) -> None:
    """Raise a CheckpointError unless a file's SHA-256 is this one; None passes.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights"
    >>> _ = path.write_bytes(b"")
    >>> check_digest(path, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", of="nothing")
    """
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise CheckpointError(
            f"{of} of SHA-256 {sha256}",
            got=found,
            fix=f"delete {path.resolve()} and download it again; if it stays so, do not use it",
        )


def push_folder(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Upload a folder into a repository, made if there is none; return its address.

    Raises
    ------
    InvalidInputError
        If the client is missing, nobody is logged in, or the hub refuses.
    """
    hub = client(f"upload to {repo}", "upload the folder of save_pretrained by hand")
    errors = hub.errors
    try:
        api = hub.HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=str(folder), commit_message=message)
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, errors.HFValidationError, OSError) as error:
        raise InvalidInputError(
            f"to upload to {repo}",
            got=_first_line(error),
            fix="hf auth login with a token that may write, and check the name; save_pretrained writes the same folder",
        ) from error
    return str(address)


def _unreachable(repo: str, name: str, error: Exception, otherwise: str) -> CheckpointError:
    return CheckpointError(
        f"to download {name} of {repo}, or to find it in the cache",
        got=f"no way to the hub ({_first_line(error)})",
        fix=f"connect to the network and try again, it goes on where it broke off; or {otherwise}",
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
