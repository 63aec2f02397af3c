"""What sections are made of: headings, tables, keys, pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from services.demo.report.markup import Markup, el
from shared.taxonomy import Condition

_MAGIC = ((b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))


def data_uri(data: bytes) -> str:
    """A picture inside the page, so that the report is one file."""
    media_type = next((name for magic, name in _MAGIC if data.startswith(magic)), "image/jpeg")
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def section(title: str, *children: object) -> Markup:
    """A section with its heading, which names it."""
    name = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    return el("section", el("h2", title, id=name), children, aria_labelledby=name)


def table_of(caption: str, head: Markup, rows: Sequence[Markup], foot: Markup | None = None) -> Markup:
    """A table that says what it shows; `rows` are rows, or groups of rows."""
    body = rows if rows and rows[0].startswith("<tbody") else el("tbody", rows)
    table = el(
        "table",
        el("caption", el("span", caption)),
        el("thead", head),
        body,
        el("tfoot", foot) if foot is not None else None,
    )
    # Wide tables scroll on a phone; the keyboard must be able to do so as well.
    return el("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def key_of(names: Iterable[str]) -> Markup:
    """The colours' key."""
    return el("ul", (el("li", name, class_=f"k-{name}") for name in names), class_="key")


def conditions_of(named: Iterable[Iterable[str]]) -> list[str]:
    """The conditions that are named anywhere, in the order every table keeps."""
    found = {name for names in named for name in names}
    return [condition.value for condition in Condition if condition in found]
