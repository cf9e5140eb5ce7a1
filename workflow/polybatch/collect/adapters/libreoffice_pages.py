"""The text of one page of LibreOffice's help: headings and paragraphs, by the ids that all languages share.

inputs: a page as packages hold it (HTML, as LibreOffice 6 and later write it)
outputs: its blocks, in the page's order, as a person reads them

Left out are tables, code, pictures, menus, lists of related topics, paragraphs that are nothing but links, and what a
page shows of another one (`embedded`): that belongs to the other page, where it stands as well. Text that differs by
system or program (`switch`) is read as its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polybatch.core.text import clean_text

_HEADING = re.compile(r"h[1-6]")
_ID = re.compile(r"(?:hd|par)_\S+")
_NOT_READ = frozenset(("table", "pre", "script", "style", "noscript", "aside", "nav", "button", "figure"))
# By their class. An icontable is a picture and its name beside it.
_OTHER_TEXT = frozenset(("embedded", "howtoget", "relatedtopics", "icontable", "noteicon"))
_PICTURE = "\ufffc"
# What a picture in the midst of a sentence leaves: no space before the mark that follows it.
_GAP = re.compile(rf"\s*{_PICTURE}\s*(?=[.,;:!?)\]。、，；：]|$)")
_OTHER_PARAGRAPH = re.compile(r"code|example|image|related|intable|tablecontent|youtube")


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, or the place of something that is left out.

    Attributes:
        identity: As in the page, such as `hd_id3155539`; "" where something is left out.
        text: Plain text, of a heading without a colon at its end; "" where something is left out or nothing is to be
            read.
        is_heading: Whether what follows, up to the next heading, stands below it. Of what is left out: whether it
            holds a heading, so that what follows stands below a heading that is not known.
    """

    identity: str
    text: str
    is_heading: bool


def blocks(page: bytes) -> list[Block]:
    """The blocks of a page; none if it has no text of the help's kind.

    An id that several blocks of the page have names none of them: they keep their text, and lose the id.
    """
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        root = html.document_fromstring(page, parser=parser)
    except etree.ParserError:  # nothing in it
        return []
    areas = root.xpath("//*[@id='DisplayArea']")
    found = list(_blocks(areas[0])) if areas else []
    seen: dict[str, int] = {}
    for block in found:
        seen[block.identity] = seen.get(block.identity, 0) + 1
    return [Block("", b.text, b.is_heading) if b.identity and seen[b.identity] > 1 else b for b in found]


def _blocks(area: Any) -> Iterator[Block]:
    for element in area:
        tag, kinds = element.tag, set((element.get("class") or "").split())
        if tag in _NOT_READ or kinds & _OTHER_TEXT:
            yield Block("", "", any(_HEADING.fullmatch(inner.tag) for inner in element.iter("*")))
        elif _HEADING.fullmatch(tag) or tag == "p":
            yield _block(element, tag != "p")
        elif "switch" in kinds:
            yield from _blocks(_default(element))
        else:
            yield from _blocks(element)


def _block(element: Any, is_heading: bool) -> Block:
    identity = element.get("id") or ""
    if not is_heading and _OTHER_PARAGRAPH.search(element.get("class") or ""):
        return Block("", "", False)
    if not is_heading and _is_link(element):
        return Block("", "", False)
    text = clean_text(_GAP.sub("", "".join(_text(element))))
    return Block(identity if _ID.fullmatch(identity) else "", text.rstrip(" :：") if is_heading else text, is_heading)


def _is_link(paragraph: Any) -> bool:
    """Whether nothing stands outside its links but marks."""
    linked = "".join(text for link in paragraph.iter("a") if link.get("href") for text in link.itertext())
    letters = "".join(filter(str.isalpha, linked))
    return bool(letters) and letters == "".join(filter(str.isalpha, "".join(paragraph.itertext())))


def _text(element: Any) -> Iterator[str]:
    if "switchinline" in (element.get("class") or "").split():
        element = _default(element)
    if element.text:
        yield element.text
    for inner in element:
        if inner.tag in ("br", "img"):
            yield " " if inner.tag == "br" else _PICTURE
        elif inner.tag not in _NOT_READ:
            yield from _text(inner)
        if inner.tail:
            yield inner.tail


def _default(switch: Any) -> Any:
    """Of the choices that a page shows by system or program, the one for all others, else the first with text."""
    choices = [choice for choice in switch if "".join(choice.itertext()).strip()]
    return next((choice for choice in choices if not choice.get("class")), choices[0] if choices else switch)
