"""What the review page asks and says, apart from HTTP: queues, items, decisions, and what other pages decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.regions import RegionView
from noisycorrect.review.session import Decision, Item, Journal, read_items
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name

LABELS = "labels"
SHOWS = ("issues", "unlabelled", "decided", "skipped", "all")
AT_ONCE = 64  # items in one answer
VALUES_SHOWN = 60  # columns of a row


class StaleDecisionError(NoisyCorrectError):
    """A decision about an item that somebody else has decided about meanwhile.

    Parameters
    ----------
    position : int
        The item's.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__("the item as it was shown", got="a decision from another tab", fix="look at it again")


class ReviewState:
    """A cleaning run under review.

    Parameters
    ----------
    run_dir : Path
        Its folder.

    Attributes
    ----------
    items : list of Item
        In the order of the store; a position is an index into them.
    order : list of int
        Positions, the most suspicious first: issues before others, then by quality.
    view : RegionView or None
        How labels are looked at region by region.

    Raises
    ------
    StoreError
        If the folder is no cleaning run's, or a file of it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from noisycorrect.review.session import Cleaning, write_items
    >>> folder = Path(tempfile.mkdtemp())
    >>> header = Cleaning(kind="text", classes=["cat", "dog"], source="pets.csv", label="label")
    >>> items = [Item(id=i, given="cat", suggested="dog", quality=0.1, is_issue=True, text=i) for i in "ab"]
    >>> _ = write_items(folder, header, items)
    >>> state = ReviewState(folder)
    >>> state.decide({"at": 1, "action": "keep", "seen": 0, "tab": "t"})["progress"]["decided"]
    1
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir
        self.header, self.items = read_items(run_dir)
        self.journal = Journal(run_dir)
        self.order = sorted(
            range(len(self.items)),
            key=lambda at: (not self.items[at].is_issue, self.items[at].quality, at),
        )
        self._places = {item.id: at for at, item in enumerate(self.items)}
        self._issues = {item.id for item in self.items if item.is_issue}
        self.view = self._region_view()

    def _region_view(self) -> RegionView | None:
        if self.header.kind != "mask" or not (self.folder / LABELS).is_dir():
            return None
        store = SoftLabelStore.open(self.folder / LABELS)
        if len(store) != len(self.items):
            fix = "clean again: items and labels belong to different runs"
            raise InvalidInputError(f"{len(store)} items, as the labels are", got=str(len(self.items)), fix=fix)
        view = store.kind.region_view(lambda rows: store.given(rows), lambda rows: store.labels(rows))
        if view is not None:
            view.name_classes(self.header.classes)
        return view

    # ---------------------------------------------------------------- what the page asks

    def about(self) -> dict[str, Any]:
        """Return what the page has to know of the run before it shows an item."""
        annotators = Counter(name for item in self.items for name in item.votes or ())
        given = Counter(item.given for item in self.items)
        doubted = Counter(item.given for item in self.items if item.is_issue)
        return {
            "source": Path(self.header.source).name,
            "label": self.header.label,
            "kind": self.header.kind,
            "folder": str(self.folder),
            "classes": [{"name": name, "given": given[name], "issues": doubted[name]} for name in self.header.classes],
            "annotators": sorted(annotators),
            "colours": None if self.view is None else self.view.colours,
            "shows": list(SHOWS),
            "progress": self.progress(),
        }

    def progress(self) -> dict[str, int]:
        """Return how many issues there are, and how much of all is decided or skipped; ``count`` lines of journal."""
        with self.journal.lock:
            known = {name: each for name, each in self.journal.state.in_force().items() if name in self._places}
            count = self.journal.state.count
        decided = [name for name, decision in known.items() if decision.decides]
        return {
            "issues": len(self._issues),
            "issues_decided": sum(name in self._issues for name in decided),
            "decided": len(decided),
            "skipped": len(known) - len(decided),
            "count": count,
        }

    def queue(self, show: str = "issues", given: str = "", suggested: str = "", annotator: str = "") -> list[int]:
        """Return positions that pass the filters, the most suspicious first.

        Parameters
        ----------
        show : {"issues", "unlabelled", "decided", "skipped", "all"}
            Which items.
        given, suggested : str
            Of this given or suggested class; empty for all.
        annotator : str
            Where this annotator's vote is not the suggested label; empty for all.

        Raises
        ------
        InvalidInputError
            If a filter is unknown.
        """
        if show not in SHOWS:
            raise unknown_name("selection of items", show, SHOWS)
        for name in filter(None, (given, suggested)):
            if name not in self.header.classes:
                raise unknown_name("class", name, self.header.classes)
        chosen = self._chosen(show)

        def passes(item: Item) -> bool:
            if not chosen(item) or (given and item.given != given) or (suggested and item.suggested != suggested):
                return False
            return not annotator or (item.votes or {}).get(annotator, item.suggested) != item.suggested

        return [at for at in self.order if passes(self.items[at])]

    def _chosen(self, show: str) -> Callable[[Item], bool]:
        in_force = self.journal.state.decision
        return {
            "issues": lambda item: item.is_issue,
            "unlabelled": lambda item: item.given is None,
            "decided": lambda item: (found := in_force(item.id)) is not None and found.decides,
            "skipped": lambda item: (found := in_force(item.id)) is not None and not found.decides,
            "all": lambda item: True,
        }[show]

    def states(self) -> dict[int, str]:
        """Return the action in force by position, of every item that has one."""
        with self.journal.lock:
            found = self.journal.state.in_force().items()
        return {self._places[name]: each.action for name, each in found if name in self._places}

    def shown(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Return items as the page draws them, at most 64.

        Raises
        ------
        InvalidInputError
            If there is no such position, or they are too many.
        """
        if len(positions) > AT_ONCE:
            raise InvalidInputError(f"at most {AT_ONCE} items", got=str(len(positions)), fix="ask for fewer")
        return [self._shown(self.checked(at)) for at in positions]

    def _shown(self, at: int) -> dict[str, Any]:
        item = self.items[at]
        row = None if item.row is None else dict(list(item.row.items())[:VALUES_SHOWN])
        found: dict[str, Any] = {
            "at": at, "id": item.id, "given": item.given, "suggested": item.suggested, "quality": item.quality,
            "issue": item.is_issue, "probs": dict(item.probs), "text": item.text, "image": item.image is not None,
            "row": row, "votes": item.votes, "share": item.share,
        }  # fmt: skip
        if self.view is not None:
            found["regions"] = self.view.regions(at)
        return found | self._decided(at)

    def _decided(self, at: int) -> dict[str, Any]:
        name = self.items[at].id
        with self.journal.lock:  # a revision of a decision that is not shown would let the next one go over it
            decision, revision = self.journal.state.decision(name), self.journal.state.revision(name)
        shown = None
        if decision is not None:
            shown = {"action": decision.action, "label": decision.label, "regions": decision.regions}
        return {"at": at, "revision": revision, "decision": shown}

    def changes(self, since: int) -> dict[str, Any]:
        """Return what was decided after the first `since` lines of the journal, by any page."""
        with self.journal.lock:
            names = self.journal.state.changed_since(since)
            changed = [self._decided(self._places[name]) for name in names if name in self._places]
            return {"changed": changed, "progress": self.progress()}

    def checked(self, at: Any) -> int:
        """Return a position, or raise an InvalidInputError."""
        if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < len(self.items):
            expected = f"a position in 0..{len(self.items) - 1}"
            raise InvalidInputError(expected, got=repr(at), fix="reload the page")
        return at

    # ---------------------------------------------------------------- what the page says

    def decide(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Take a decision; when this returns it is on disk.

        Parameters
        ----------
        said : mapping
            ``at``, the position; ``action``; ``label`` of "class"; ``seen``, the item's revision that the page shows;
            ``tab``; ``regions`` of masks.

        Raises
        ------
        StaleDecisionError
            If another page has decided about the item since: nothing is written.
        InvalidInputError
            If it is no decision about this item, or cannot be written.
        """
        at = self.checked(said.get("at"))
        item = self.items[at]
        with self.journal.lock:
            if said.get("seen") != self.journal.state.revision(item.id):
                raise StaleDecisionError(at)
            self.journal.append(self._decision(at, item, said))
            return {**self._decided(at), "progress": self.progress()}

    def _decision(self, at: int, item: Item, said: Mapping[str, Any]) -> Decision:
        action, label, regions = said.get("action"), None, None
        if action == "undo" and self.journal.state.decision(item.id) is None:
            raise InvalidInputError("a decision to undo", got=f"none about {item.id!r}", fix="reload the page")
        if action == "accept" and item.suggested is None:
            raise InvalidInputError(f"a suggested label of {item.id!r}", got="none", fix="choose a class, or skip it")
        if action == "class" and self.view is None:
            label = said.get("label")
            if label not in self.header.classes:
                raise unknown_name("class", label, self.header.classes)
        if self.view is None:
            label = {"accept": item.suggested, "keep": item.given}.get(str(action), label)
        elif action == "accept":
            regions = self.view.checked(at, said.get("regions") or {})
        elif action == "class":
            raise InvalidInputError(
                "regions of a mask", got="a class for all of it", fix="accept or reject its regions"
            )
        tab = ascii(said.get("tab", "")).strip("'")[:32]  # half a surrogate pair could not be written
        return Decision(id=item.id, action=str(action), label=label, tab=tab, regions=regions)
