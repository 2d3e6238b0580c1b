"""The parts of the report, each from facts to markup."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.review.report.charts import bar, curve, interval_chart
from noisycorrect.review.report.facts import Facts, Validation
from noisycorrect.review.report.figures import NONE, counted, duration, percent, proportion_interval, span
from noisycorrect.review.report.markup import Markup, joined, table, tag
from noisycorrect.review.report.thumbnails import thumbnail
from noisycorrect.review.session import Item, final_label

MOST_CLASSES = 16  # of a confusion matrix that one can still read
MOST_ROWS = 60  # of classes in the table
PANEL = 168
DONE = {"accept": "accepted", "keep": "kept as given", "class": "changed by hand", "skip": "skipped"}


def section(title: str, *content: Any, name: str) -> Markup:
    """Return a part of the page under a heading."""
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


# ---------------------------------------------------------------- how many


def headline(facts: Facts) -> Markup:
    """Return how many labels are wrong, or that this cannot be told, and what was found beside it."""
    tiles = [_rate_tile(facts), _issues_tile(facts), _bought_tile(facts.validation), _decided_tile(facts)]
    return tag("div", *tiles, class_="tiles")


def _tile(small: str, large: Any, *below: Any, lead: bool = False) -> Markup:
    rest = [tag("p", each) if isinstance(each, str) and not isinstance(each, Markup) else each for each in below]
    return tag("div", tag("p", small, class_="small"), tag("p", large, class_="large"), *rest,
               class_="tile lead" if lead else "tile")  # fmt: skip


def _rate_tile(facts: Facts) -> Markup:
    noise = facts.noise
    title = f"Wrong {facts.unit}" if facts.unit != "labels" else "Wrong labels"
    if noise is None or noise.get("rate") is None:
        return _tile(title, "Not estimated", "This run has no evidence about how many.", lead=True)
    low, high = noise["interval"]
    level = f"{100 * noise.get('level', 0.95):.0f} % interval: {span((low, high))}"
    if noise.get("decided", True) and not noise.get("memorised", False):
        return _tile(
            title, f"About {percent(noise['rate'])}", interval_chart(low, high, noise["rate"]), level, lead=True
        )
    return _tile(title, "Cannot tell", interval_chart(low, high, None), f"anywhere from {span((low, high))}", lead=True)


def _issues_tile(facts: Facts) -> Markup:
    what = "labels" if facts.unit == "labels" else "samples"
    share = facts.issues / facts.labelled if facts.labelled else None
    return _tile(
        f"{what.capitalize()} to look at", f"{facts.issues:,}", f"{percent(share)} of {facts.labelled:,} given"
    )


def _bought_tile(validation: Validation | None) -> Markup:
    if validation is None:
        return _tile("What correcting bought", "Not measured", "No held-out labels were scored.")
    change = 100 * (validation.after - validation.before)
    below = f"{percent(validation.before)} before, {percent(validation.after)} after, on held-out noisy labels"
    return _tile(
        f"Model's {validation.name} by correcting", f"{change:+.1f} points".replace("-", "\N{MINUS SIGN}"), below
    )


def _decided_tile(facts: Facts) -> Markup:
    decided = sum(decision.decides for decision in facts.decisions.values())
    return _tile("Looked at by people", f"{decided:,}", f"of {facts.issues:,} to look at")


def verdict(facts: Facts) -> Markup | None:
    """Return the estimate in words."""
    words = (facts.noise or {}).get("verdict")
    return tag("p", words, class_="verdict") if words else None


# ---------------------------------------------------------------- by class, by annotator


def by_class(facts: Facts) -> Markup:
    """Return a row a class: labels, how many are to look at, the estimated share of wrong ones."""
    labelled, kept = np.asarray(facts.joint.sum(1)).ravel(), np.asarray(facts.joint.diagonal())
    corrected = np.asarray(facts.joint.sum(0)).ravel()
    flagged = labelled - kept
    shares = np.divide(flagged, labelled, out=np.zeros(len(labelled)), where=labelled > 0)
    rates = (facts.noise or {}).get("class_rates") or {}
    headings = ["class", f"given {facts.unit}", "after correction", "doubted", "share", ""]
    headings += ["estimated wrong"] if rates else []
    order = np.argsort(-flagged, kind="stable")[:MOST_ROWS]
    rows = []
    for k in order.tolist():
        name = facts.classes[k]
        row = [name, f"{labelled[k]:,.0f}", f"{corrected[k]:,.0f}", f"{flagged[k]:,.0f}"]
        row += [percent(shares[k]) if labelled[k] else NONE, bar(shares[k])]
        rows.append(row + ([_class_rate(rates.get(name))] if rates else []))
    more = len(labelled) - len(order)
    return joined(
        table(headings, rows, caption="By class", numbers=(1, 2, 3, 4)),
        tag("p", f"{counted(more, 'class', 'classes')} with fewer doubted {facts.unit} left out.") if more else None,
        tag("p", "Doubted and share: of those that were given this class. Estimated wrong: of the samples that truly "
            "are of this class, with its interval.", class_="note") if rates else None,
    )  # fmt: skip


def _class_rate(found: dict[str, Any] | None) -> str:
    if not found or found.get("rate") is None:
        return "unknown"
    return f"{percent(found['rate'])} ({span(found['interval'])})"


def by_annotator(facts: Facts) -> Markup:
    """Return a row an annotator, the least accurate first."""
    rows = []
    for row in facts.annotators:
        weakest = NONE if row.weakest is None else f"{row.weakest[0]} ({percent(row.weakest[1])})"
        rows.append([row.name, f"{row.votes:,}", percent(row.accuracy), bar(row.accuracy), weakest])
    return joined(
        table(["annotator", "votes", "accuracy", "", "weakest class"], rows, caption="By annotator", numbers=(1, 2)),
        tag("p", f"Accuracy: {facts.measured}.", class_="note"),
    )


# ---------------------------------------------------------------- confusion


def confusion(facts: Facts) -> Markup:
    """Return counts of given (rows) and corrected labels (columns); of many classes those with the most changes."""
    shown = _most_changed(facts.joint)
    names = [facts.classes[k] for k in shown]
    cells = facts.joint[shown][:, shown]
    cells = np.asarray(cells.todense() if hasattr(cells, "todense") else cells, np.float64)
    totals = np.asarray(facts.joint.sum(1)).ravel()[shown]
    head = tag("tr", tag("th", "given ↓  corrected →", scope="col"), *(tag("th", name, scope="col") for name in names))
    rows = [
        tag("tr", tag("th", names[g], scope="row"), *(_cell(cells[g, c], totals[g], g == c) for c in range(len(shown))))
        for g in range(len(shown))
    ]
    caption = f"Given against corrected {facts.unit}"
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *rows), class_="confusion")
    left_out = len(facts.classes) - len(shown)
    told = f"The {len(shown)} classes with the most changes; {left_out} left out."
    return joined(
        tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption),
        tag("p", told, class_="note") if left_out else None,
        _pairs(facts),
    )


def _most_changed(joint: Any) -> list[int]:
    diagonal = np.asarray(joint.diagonal())
    changes = np.asarray(joint.sum(0)).ravel() + np.asarray(joint.sum(1)).ravel() - 2 * diagonal
    if len(diagonal) <= MOST_CLASSES:
        return list(range(len(diagonal)))
    chosen: list[int] = sorted(np.argsort(-changes, kind="stable")[:MOST_CLASSES].tolist())
    return chosen


def _cell(count: float, total: float, same: bool) -> Markup:
    share = count / total if total else 0.0
    deep = 0.0 if not count else 0.12 + 0.88 * share
    kind = ("same" if same else "other") + (" strong" if deep > 0.55 else "")
    return tag("td", f"{count:,.0f}" if count else "·", class_=kind, style=f"--deep:{deep:.3f}")


def _pairs(facts: Facts) -> Markup | None:
    pairs = (facts.noise or {}).get("most_confused")
    if not pairs:
        return None
    rows = [tag("li", f"{true} labelled {given}: {percent(share)} of {true}") for true, given, share in pairs]
    return joined(tag("h3", "Most confused"), tag("ul", *rows))


# ---------------------------------------------------------------- the worst


def worst(facts: Facts) -> Markup:
    """Return the labels of least quality, with what there is to see of them."""
    if not facts.worst:
        return tag("p", "No label is contradicted.")
    return tag("ol", *(_card(facts, item) for item in facts.worst), class_="cards")


def _card(facts: Facts, item: Item) -> Markup:
    given = item.given if item.given is not None else "no label"
    change = tag("p", tag("span", given, class_="from"), " → ", tag("span", item.suggested or NONE, class_="to"),
                 class_="change")  # fmt: skip
    told = [f"quality {item.quality:.3f}"]
    if item.suggested in item.probs:
        told.append(f"evidence {percent(item.probs[item.suggested or ''])}")
    if item.share is not None and facts.unit != "labels":
        told.append(f"{percent(item.share)} of its {facts.unit}")
    decision = facts.decisions.get(item.id)
    state = None
    if decision is not None:
        label = final_label(item, decision).label
        state = tag(
            "p", f"{DONE[decision.action]}{f': {label}' if decision.decides and label else ''}", class_="decided"
        )
    note = tag("p", ", ".join(told), class_="note")
    return tag("li", tag("p", item.id, class_="id"), _seen(facts, item), change, note, _votes(item), state)


def _votes(item: Item) -> Markup | None:
    if not item.votes:
        return None
    return tag("p", "votes: " + ", ".join(f"{name} {label}" for name, label in item.votes.items()), class_="note")


def _seen(facts: Facts, item: Item) -> Markup | None:
    row = facts.positions.get(item.id)
    if row is not None and facts.store is not None and facts.unit != "labels":
        return _panels(facts, item, row)
    if item.image is not None:
        uri, why = thumbnail(facts.folder / item.image)
        alt = f"{item.id}: given {item.given}, suggested {item.suggested}"
        return tag("p", why, class_="missing") if uri is None else tag("img", src=uri, alt=alt)
    if item.text is not None:
        return tag("blockquote", item.text if len(item.text) <= 600 else f"{item.text[:600]} …")
    if item.row is not None:
        cells = [
            tag("tr", tag("th", name, scope="row"), tag("td", _short(value)))
            for name, value in list(item.row.items())[:12]
        ]
        return tag("table", *cells, class_="row")
    return None


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def _panels(facts: Facts, item: Item, row: int) -> Markup | None:
    store = facts.store
    assert store is not None
    view = store.kind.region_view(lambda rows: store.given(rows), lambda rows: store.labels(rows))
    if view is None:
        return None
    view.name_classes(facts.classes)
    image = None if item.image is None else facts.folder / item.image
    pictures = []
    for title, content in view.panels(row, image, side=PANEL):
        kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
        uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        picture = tag("img", src=uri, alt=f"{item.id}: {title}")
        pictures.append(tag("figure", picture, tag("figcaption", title)))
    return tag("div", *pictures, class_="panels")


# ---------------------------------------------------------------- what it bought, how it was made


def bought(validation: Validation | None) -> Markup:
    """Return the scores before and after correcting, and what they are worth."""
    if validation is None:
        return tag("p", "Not measured: no held-out labels were scored in this run.")
    rows = []
    for name, score in (("before correction", validation.before), ("after correction", validation.after)):
        ends = None if not validation.count else proportion_interval(score, validation.count)
        rows.append([name, percent(score), NONE if ends is None else span(ends), bar(score)])
    headings = ["model", f"validation {validation.name}", "95 % interval", ""]
    count = f"{counted(validation.count, 'held-out label')}" if validation.count else "held-out labels"
    told = (
        f"Measured on {count} that nobody corrected. They are as noisy as the rest, so both scores are lower than "
        "those on right labels would be; the difference is what counts."
    )
    chart = curve(validation.curve, validation.name) if len(validation.curve) > 2 else None
    return joined(table(headings, rows, caption="Before and after", numbers=(1,)), chart, tag("p", told, class_="note"))


def made(facts: Facts, seconds: float | None, version: str) -> Markup:
    """Return how the run and this page were made."""
    rows: list[list[Any]] = []
    if facts.command:
        rows.append(["command", tag("code", facts.command)])
    column = f"column {facts.label}" if facts.label and facts.kind != "mask" else facts.label
    for name, value in (("data", facts.source), ("labels", column)):
        if value:
            rows.append([name, value])
    rows += [[name, value] for name, value in facts.made.items() if name != "labels" or not facts.label]
    if seconds is not None:
        rows.append(["time", duration(seconds)])
    if facts.created:
        rows.append(["run", facts.created])
    rows.append(["run folder", str(Path(facts.folder).resolve())])
    rows.append(["this page", f"{dt.datetime.now(dt.UTC).isoformat(timespec='seconds')}, noisycorrect {version}"])
    return table(["", ""], rows, caption="How it was made")


def footing(facts: Facts) -> Sequence[str]:
    """Return what the words of the page mean."""
    told = [
        "A label is doubted if the evidence, the predictions of models for its sample, has another most probable class."
    ]
    told.append("Quality is the evidence's probability of the given label: low is suspicious.")
    if facts.noise is not None and facts.noise.get("held_out") is False:
        told.append("The evidence comes from models that were trained on these labels.")
    return told
