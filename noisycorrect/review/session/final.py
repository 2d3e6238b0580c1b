"""The labels that a run and its review lead to."""

from __future__ import annotations

import os
from dataclasses import dataclass

from noisycorrect.review.session.decisions import Decision, Reviewed, read_decisions
from noisycorrect.review.session.items import Item, read_items


@dataclass(frozen=True)
class FinalLabel:
    """The label of an item after review.

    Attributes
    ----------
    id : str
        The item's.
    label : str or None
        Its label; None for none.
    decided : bool
        Whether somebody decided: such a label is trusted in a new run.
    origin : {"given", "corrected", "accept", "keep", "class"}
        The decision; or, where nobody decided, whether it is the given label or the run's correction.
    """

    id: str
    label: str | None
    decided: bool
    origin: str


def final_label(item: Item, decision: Decision | None) -> FinalLabel:
    """Return an item's label under the decision in force about it.

    Examples
    --------
    >>> item = Item(id="7", given="cat", suggested="dog", quality=0.1, is_issue=True)
    >>> final_label(item, None)
    FinalLabel(id='7', label='dog', decided=False, origin='corrected')
    >>> final_label(item, Decision(id="7", action="keep", label="cat"))
    FinalLabel(id='7', label='cat', decided=True, origin='keep')
    """
    if decision is not None and decision.decides:
        return FinalLabel(item.id, decision.label, decision.label is not None, decision.action)
    label = item.corrected
    return FinalLabel(item.id, label, False, "given" if label == item.given else "corrected")


def final_labels(run_dir: str | os.PathLike[str]) -> list[FinalLabel]:
    """Return the labels of a cleaning run in the order of its items: decisions over corrected over given labels.

    What was skipped or taken back is undecided. Decisions about items that the run no longer has are passed over.
    Masks are no names; see :func:`noisycorrect_seg.sessions.final_masks`.

    Raises
    ------
    StoreError
        If the folder is no cleaning run's, or a file of it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from noisycorrect.review.session import Cleaning, Journal, write_items
    >>> folder = tempfile.mkdtemp()
    >>> header = Cleaning(kind="text", classes=["cat", "dog"], source="pets.csv", label="label")
    >>> items = [Item(id=i, given="cat", suggested="dog", quality=0.1, is_issue=True, text=i) for i in "ab"]
    >>> _ = write_items(folder, header, items)
    >>> Journal(folder).append(Decision(id="b", action="keep", label="cat"))
    >>> [(final.label, final.decided) for final in final_labels(folder)]
    [('dog', False), ('cat', True)]
    """
    _, items = read_items(run_dir)
    decided = Reviewed(read_decisions(run_dir)).in_force()
    return [final_label(item, decided.get(item.id)) for item in items]
