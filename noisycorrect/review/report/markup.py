"""HTML in which whatever is not markup already is escaped."""

from __future__ import annotations

import html
from typing import Any

VOID = ("br", "img", "meta")  # elements without an end


class Markup(str):
    """A string that is HTML; any other is text and is escaped where it is put between tags."""

    __slots__ = ()


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """Return an element; children that are no :class:`Markup` are escaped, None is left out.

    Parameters
    ----------
    name : str
        Of the element.
    *children
        Markup, text, or numbers.
    **attributes
        Their values are escaped. A trailing underscore is dropped (``class_``), others become hyphens; None is left
        out.

    Examples
    --------
    >>> tag("td", "<b>", class_="number")
    '<td class="number">&lt;b&gt;</td>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>" if name in VOID else f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: Any) -> Markup:
    """Return pieces one after the other, escaped as in :func:`tag`.

    Examples
    --------
    >>> joined("a < b", tag("br"), None)
    'a &lt; b<br>'
    """
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: Any) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child))


def table(headings: list[Any], rows: list[list[Any]], *, caption: str, numbers: tuple[int, ...] = ()) -> Markup:
    """Return a table with a caption for those who do not see it; `numbers` are the columns set to the right.

    Examples
    --------
    >>> table(["class"], [["cat"]], caption="Classes").count("<td")
    1
    """
    classes = ["number" if column in numbers else None for column in range(len(headings))]
    head = tag("tr", *(tag("th", text, scope="col", class_=c) for text, c in zip(headings, classes, strict=True)))
    body = [tag("tr", *(tag("td", cell, class_=c) for cell, c in zip(row, classes, strict=True))) for row in rows]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)
