"""HTML and Markdown within texts: what is markup, and the text without it.

inputs: one text
outputs: the text as a person reads it, and how many marks were taken out

Plain text is full of `<` and `*` that mark nothing: "while i <n holds and x> 0", "List<String>", "2**3**2", "- 5
degrees". A tag is markup only if it is written as one: the name of an element of HTML, or a name that the same text
closes (`</name>`), or one that closes itself (`<name/>`) or has an attribute in quotes; its attributes have values,
but for those that HTML knows without. All functions take time in proportion to the text's length.
"""

from __future__ import annotations

import html
import re

# Elements of the HTML standard (html.spec.whatwg.org, sections 4 and 16.2), the obsolete ones among them.
_NAMES_OF_ELEMENTS = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote "
    "body br button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir div "
    "dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header "
    "hgroup hr html i iframe img input ins kbd label legend li link main map mark marquee menu meta meter nav "
    "nobr noembed noframes noscript object ol optgroup option output p param picture plaintext pre progress q rb "
    "rp rt rtc ruby s samp script search section select slot small source span strike strong style sub summary "
    "sup table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr xmp "
)
_ELEMENTS = frozenset(_NAMES_OF_ELEMENTS.split())
_NAMES_OF_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q rb ruby s samp small span "
    "strike strong sub sup tt u var wbr "
)
_INLINE = frozenset(_NAMES_OF_INLINE.split())
_NAMES_OF_WITHOUT_VALUE = (
    "allowfullscreen async autofocus autoplay checked controls default defer disabled download formnovalidate "
    "hidden inert ismap itemscope loop multiple muted nomodule novalidate nowrap open playsinline readonly "
    "required reversed selected "
)
_WITHOUT_VALUE = frozenset(_NAMES_OF_WITHOUT_VALUE.split())
_HIDDEN = ("script", "style")  # what stands between their tags is no text
_NAME = r"[A-Za-z][\w:.-]*+"
_ATTRIBUTE_NAME = r"""[^\s"'<>/=]++"""
_VALUE = r"""\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'=<>`]++)"""
_ATTRIBUTE = rf"\s++{_ATTRIBUTE_NAME}(?:{_VALUE})?+"
_NAMED = re.compile(rf"\s++(?P<name>{_ATTRIBUTE_NAME})(?P<value>{_VALUE})?+")
_TAG = re.compile(rf"<(?P<end>/?)(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE})*+)\s*+(?P<closed>/?)>")
_CLOSING = re.compile(rf"</({_NAME})\s*+>")
_REFERENCE = re.compile(r"&(?:#\d++|#[xX][0-9a-fA-F]++|[A-Za-z][A-Za-z0-9]*+);")
_LONG_NUMBER = re.compile(r"&#(?:0*+[1-9]\d{7,}|[xX]0*+[1-9a-fA-F][0-9a-fA-F]{6,})")
_LITERAL = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_DECLARATION = re.compile(r"<!doctype\b[^<>]*+>|<\?[a-z][^<>?]*+\?>", re.IGNORECASE)
# A link's text, whose brackets may nest once, and its target, whose parentheses may, with a title. "a[0](b)" is none.
_LINK = re.compile(
    r"(?<![\w\])}])!?\[((?:[^\[\]]|\[[^\[\]]*+\])*+)\]"
    r"""\(\s*+(?:<[^<>\n]*+>|(?:[^()\s]|\([^()\s]*+\))*+)(?:\s++(?:"[^"]*+"|'[^']*+'))?+\s*+\)"""
)
_BULLET = re.compile(r"^[ \t]*(?:[-*+•]|#{1,6})[ \t]+", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$\n?", re.MULTILINE)
_RUN = re.compile(r"\*{1,3}|_{1,3}|`+")


def strip_html(text: str) -> tuple[str, int]:
    """The text without tags, comments, scripts and styles, its character references resolved.

    Tags within a line (`<b>`) leave nothing behind, all others a space.

    Returns:
        The text, and how many tags, comments and references were taken out or resolved.
    """
    plain, marks = strip_tags(text)
    if "&" not in plain:
        return plain, marks
    resolved = resolve_references(plain)
    return resolved, marks + (max(1, len(_REFERENCE.findall(plain))) if resolved != plain else 0)


def resolve_references(text: str) -> str:
    """`html.unescape`; the number of no character, however many digits it has, becomes U+FFFD, as HTML wants it."""
    return html.unescape(_LONG_NUMBER.sub("&#x110000", text)) if "&" in text else text


def strip_tags(text: str) -> tuple[str, int]:
    """As `strip_html`, but character references stay."""
    if "<" not in text or ">" not in text:
        return text, 0
    text, literal = _strip_literal(text)
    closed = {name.lower() for name in _CLOSING.findall(text)}
    if "-->" in text:
        closed.add("!--")
    pieces, marks, done, at = [], 0, 0, text.find("<")
    while at >= 0:
        end, gap = _mark_at(text, at, closed)
        if end:
            pieces += [text[done:at], gap]
            marks, done = marks + 1, end
        at = text.find("<", end or at + 1)
    return "".join([*pieces, text[done:]]), marks + literal


def _strip_literal(text: str) -> tuple[str, int]:
    """The text with what XML's `<![CDATA[...]]>` hold in their place, and how many there were."""
    before, end, after = text.rpartition("]]>")  # beyond the last end, nothing that is opened is closed
    if not end:
        return text, 0
    plain, sections = _LITERAL.subn(r"\1", before + end)
    return plain + after, sections


def _mark_at(text: str, at: int, closed: set[str]) -> tuple[int, str]:
    """Where the mark that begins at `at` ends, 0 if there is none, and what it leaves behind.

    What is found not to be closed any more is taken out of `closed`, so that it is looked for once.
    """
    if text.startswith("<!--", at):
        end = text.find("-->", at + 4) if "!--" in closed else -1
        if end < 0:
            closed.discard("!--")
            return 0, ""
        return end + 3, ""
    if text.startswith(("<!", "<?"), at):
        found = _DECLARATION.match(text, at)
        return (found.end(), " ") if found else (0, "")
    tag = _TAG.match(text, at)
    if tag is None or not _is_markup(tag, closed):
        return 0, ""
    name = tag["name"].lower()
    if name in _HIDDEN and name in closed and not tag["end"]:
        end_tag = re.compile(rf"</{name}\s*+>", re.IGNORECASE).search(text, tag.end())
        if end_tag:
            return end_tag.end(), " "
        closed.discard(name)
    return tag.end(), "" if name in _INLINE else " "


def _is_markup(tag: re.Match[str], closed: set[str]) -> bool:
    name, attributes = tag["name"].lower(), tag["attributes"]
    if tag["end"]:
        return not attributes and not tag["closed"]
    if attributes and not all(bare.lower() in _WITHOUT_VALUE for bare in _bare(attributes)):
        return False
    return name in _ELEMENTS or name in closed or bool(tag["closed"]) or '"' in attributes or "'" in attributes


def _bare(attributes: str) -> list[str]:
    """Names of attributes that have no value."""
    return [found["name"] for found in _NAMED.finditer(attributes) if found["value"] is None]


def strip_links(text: str) -> tuple[str, int]:
    """The text with what Markdown's links and images show in their place, and how many there were."""
    return _LINK.subn(r"\1", text) if "](" in text else (text, 0)


def strip_markdown(text: str) -> tuple[str, int]:
    """The text without links' targets, HTML, emphasis, code marks, bullets and heading marks, and how many there were.

    Emphasis is what stands between two equal marks, the first after a space or punctuation and before a letter, the
    second the other way round: "2**3**2", "f(*args, **kwargs)" and "my__name" hold none.
    """
    text, links = strip_links(text)
    text, tags = strip_html(text)
    text, fences = _FENCE.subn("", text)
    text, bullets = _BULLET.subn("", text)
    text, emphasis = _strip_emphasis(text)
    return text, links + tags + fences + bullets + emphasis


def _strip_emphasis(text: str) -> tuple[str, int]:
    open_at: dict[str, tuple[int, int]] = {}
    gone: list[tuple[int, int]] = []
    for run in _RUN.finditer(text):
        before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
        if (opened := open_at.get(run[0])) and _ends(before, after):
            gone += [opened, run.span()]
            del open_at[run[0]]
        elif _ends(after, before):
            open_at[run[0]] = run.span()
    pieces, at = [], 0
    for start, end in sorted(gone):
        pieces.append(text[at:start])
        at = end
    return "".join([*pieces, text[at:]]), len(gone) // 2


def _ends(inner: str, outer: str) -> bool:
    """Whether a mark between these two characters is the edge of marked text that `inner` belongs to."""
    return bool(inner) and not inner.isspace() and not (outer.isalnum() or outer == "_")
