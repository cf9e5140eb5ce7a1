"""Answers as text for a terminal.

inputs: an `Answer`
outputs: lines, the second model's below the first's

Passages and ids are strangers' text: control characters, which could steer the terminal, are shown as such and not
sent to it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from polybatch.search.answers import Answer, Hit, OfModel

_WIDTH = 100
_SHOWN_SHARE = 0.005


def render(answer: Answer, width: int = _WIDTH) -> str:
    """The answer as text.

    Args:
        answer: Of one model or two.
        width: Columns of the terminal; a passage is one line, cut where it is longer.
    """
    head = [f"question: {visible(answer.question, width - 10)}"]
    if answer.own:
        name = safe(answer.own.query_id)
        head.append(f"          query {name} of the benchmark, in {answer.own.lang}; ✓ marks what is relevant")
    if answer.note:
        head.append(f"          {safe(answer.note)}")
    blocks = [head, *(list(_model(model, width)) for model in answer.models)]
    return "\n\n".join("\n".join(block) for block in blocks)


def _model(model: OfModel, width: int) -> Iterator[str]:
    yield visible(model.run, width)
    yield "─" * min(width, len(model.run))
    for depth, shares in model.shares.items():
        told = [f"{lang} {share:.0%}" for lang, share in sorted(shares.items(), key=lambda of: -of[1])]
        shown = [
            text
            for text, share in zip(told, sorted(shares.values(), reverse=True), strict=True)
            if share > _SHOWN_SHARE
        ]
        yield f"languages of the first {depth}: {', '.join(shown)}"
    if model.relevant_ranks:
        yield f"relevant passages at ranks {', '.join(map(str, model.relevant_ranks))}"
    if model.cut:
        yield "the question is longer than the model reads: only its beginning counted"
    if not model.hits:
        yield "no passage"
    yield from (_hit(hit, width) for hit in model.hits)
    encoded = f"encoded in {model.encode_ms:.0f} ms, " if model.encode_ms else ""
    yield f"{encoded}searched in {model.search_ms:.0f} ms"


def _hit(hit: Hit, width: int) -> str:
    mark = "✓" if hit.relevant else " "
    start = f"{hit.rank:>5} {mark} {hit.score:.3f}  {hit.lang:<3} "
    return start + visible(hit.text, width - len(start))


def safe(text: str) -> str:
    """The text in one line, however long, with no character that a terminal would obey."""
    return "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    if character in "\n\r\t\u2028\u2029":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in ("Cc", "Cs") else character


def visible(text: str, width: int) -> str:
    """One line of at most so many columns, with no character that a terminal would obey."""
    shown: list[str] = []
    used, cut = 0, 0
    for one in map(_harmless, text):
        used += _columns(one)
        if used > width:
            return "".join(shown[:cut]).rstrip() + "…"
        shown.append(one)
        cut = len(shown) if used < width else cut  # the ellipsis takes a column
    return "".join(shown)


def _columns(character: str) -> int:
    """Columns that a character takes on a terminal: none for marks and signs without a shape, two for wide ones."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
