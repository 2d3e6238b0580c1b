r"""Docstrings are written for Sphinx's roles; the site's Markdown is made of them here.

``:class:`~noisycorrect.Recipe``` becomes a link to Recipe, ``:math:`x``` a formula, ``.. math::`` a formula of its own.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(class|func|meth|mod|data|attr|obj|math):`([^`]*)`", re.DOTALL)
_TITLED = re.compile(r"(.*?)\s*<([^>]+)>", re.DOTALL)
_FORMULA = re.compile(r"^( *)\.\. math::[ \n]*(.*?)(?=\n *\n|\Z)", re.DOTALL | re.MULTILINE)


class Roles(griffe.Extension):
    """Replaces roles in every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read, if it has one."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj.path)


def markdown(text: str, path: str = "") -> str:
    r"""Return a docstring with Markdown in place of roles.

    Parameters
    ----------
    text : str
        The docstring.
    path : str
        Full name of what it belongs to; a role that names no package means something beside or inside it.

    Examples
    --------
    >>> markdown("See :func:`~noisycorrect.fit_votes` and :math:`x^2`.")
    'See <autoref identifier="noisycorrect.fit_votes" optional><code>fit_votes</code></autoref> and \\(x^2\\).'
    >>> markdown(".. math:: a = b\n\nNext.")
    '\\[\na = b\n\\]\n\nNext.'
    """

    def formula(match: re.Match[str]) -> str:
        indent, body = match.groups()
        lines = [indent + line.strip() for line in body.strip().splitlines()]
        return "\n".join([f"{indent}\\[", *lines, f"{indent}\\]"])

    def role(match: re.Match[str]) -> str:
        name, content = match.groups()
        if name == "math":
            return f"\\({' '.join(content.split())}\\)"
        titled = _TITLED.fullmatch(content)
        shown, target = titled.groups() if titled else (content, content)
        if target.startswith("~"):
            target = target[1:]
            shown = shown if titled else target.rpartition(".")[2]
        if not target.startswith(("noisycorrect", "torch", "numpy")):
            parent = path if name in ("meth", "attr") and "." not in target else path.rpartition(".")[0]
            target = f"{parent}.{target}"
        return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'

    return _ROLE.sub(role, _FORMULA.sub(formula, text))
