"""Text normalisation that several stages must agree on: what a string looks like, and when two are the same."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from polybatch.core.markup import resolve_references, strip_links, strip_tags
from polybatch.core.unicode_sets import INVISIBLE_RANGES, UNSPACED_RANGES, character_class

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_EMPHASIS = re.compile(r"(\*\*|__|`+)")
_BULLET = re.compile(r"^\s*(?:[-*•]|#+)\s+", re.MULTILINE)
_MARKUP = re.compile(r"[\[<*_`\n#•-]")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
# Vowel signs and other combining marks are parts of words, which Python's \w does not count: without them Hindi's
# "ki" and "ka" would be the same.
_MARKS = "".join(chr(c) for c in range(0x300, 0x1F000) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
# The same in two steps, several times as fast: of UTF-8, ASCII's letters in lower case, its digits, and spaces for all
# else of it; then, where there is any, what is beyond ASCII.
_ASCII_WORDS = bytes(c if c > 127 else ord(chr(c).lower()) if chr(c).isalnum() else 32 for c in range(256))
_ASCII_INVISIBLE = bytes([*range(9), *range(14, 32), 127])
_NOT_WORD_BEYOND_ASCII = re.compile(rf"[^\w{_MARKS}\x00-\x7f]+")
_NEVER_SEEN = re.compile(f"[{character_class(INVISIBLE_RANGES)}]+")
# Full-width and small forms of `<`, `&` and `]`, which NFKC makes these.
_WIDE_MARKS = re.compile("[\ufe64\uff1c\ufe60\uff06\uff3d]")
# What may be written or left out without another word being meant: the points of Arabic, Hebrew and Syriac, and the
# strokes that stretch a word of Arabic or N'Ko. Hamza and madda (U+0653 to U+0655) tell letters apart and stay.
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06dc"
    "\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0730-\u074a\u07fa]+"
)
_UNSPACED = re.compile(f"[{character_class(UNSPACED_RANGES)}]")
_UNIT = re.compile(f"[{character_class(UNSPACED_RANGES)}]|[^\\s{character_class(UNSPACED_RANGES)}]+")
_NESTED_REFERENCES = 4  # "&amp;lt;": a reference within a reference; no real text has more
# What goes out of texts: controls, soft hyphens, zero-width spaces, direction marks, replacement characters,
# noncharacters. Joiners (U+200C, U+200D) and selectors of variants stay: Persian and Hindi spell with them, emoji too.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069"
    r"\ufdd0-\ufdef\ufeff\ufff9-\uffff]"
)


def clean_markup(text: str) -> str:
    """Interface text as a person reads it: NFC, link texts for links, no markdown or tags, single spaces."""
    text = unicodedata.normalize("NFC", text)
    if not _MARKUP.search(text):  # most strings, and they are met by the million
        return " ".join(text.split())
    text = _LINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _BULLET.sub("", text)
    text = _EMPHASIS.sub("", text)
    return " ".join(text.split())


def clean_text(text: str) -> str:
    """Plain text as a person reads it: NFC, nothing invisible, single spaces. Keeps a text that is clean as it is."""
    if text.isascii():
        return " ".join((text if text.isprintable() else _INVISIBLE.sub("", text)).split())
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def has_placeholder(text: str) -> bool:
    """Whether a `{placeholder}` stands in the text."""
    return "{" in text or "}" in text


def number_placeholders(english: str, text: str) -> tuple[str, str] | None:
    """Renames placeholders to {1}, {2}... by their order in the English text, the same in both texts.

    Returns None if the two texts do not hold the same placeholders: then one is no translation of the other.
    """
    names = list(dict.fromkeys(_PLACEHOLDER.findall(english)))
    if sorted(names) != sorted(set(_PLACEHOLDER.findall(text))):
        return None
    numbers = {name: f"{{{i}}}" for i, name in enumerate(names, start=1)}
    return tuple(_PLACEHOLDER.sub(lambda m: numbers[m[0]], t) for t in (english, text))  # type: ignore[return-value]


def is_blank(text: str) -> bool:
    """Whether nothing of the text can be seen: white space and invisible characters alone."""
    return not text or not (text if text.isascii() and text.isprintable() else _NEVER_SEEN.sub("", text)).strip()


def text_key(text: str) -> str:
    """The words of a text: letters and digits, NFKC, case folded, with single spaces between them.

    Without invisible characters, HTML's tags and references, and links' targets (`core.markup`), so that a text
    has one key whether its markup was taken out or not; without the points of Arabic and Hebrew, which most texts leave
    out; and with one letter for the two I of Turkish, whose capitals are the other way round. Used for ids, for the
    split, for removing duplicates and for n-grams. Texts without any letter or digit keep their characters, so that
    they do not all fall together; "" is the key of those of which nothing can be seen.
    """
    if "<" in text or "&" in text or "]" in text or (not text.isascii() and _WIDE_MARKS.search(text)):
        plain = _without_markup(text)
        if not is_blank(plain):  # else the text is about markup: "<br>"
            text = plain
    if text.isascii():
        raw = text.encode()
        words = b" ".join(raw.translate(_ASCII_WORDS, _ASCII_INVISIBLE).split()).decode()
        return words or " ".join(raw.translate(None, _ASCII_INVISIBLE).decode().lower().split())
    folded = unicodedata.normalize("NFKC", _NEVER_SEEN.sub("", text)).casefold()
    # Turkish has two letters I, whose capitals and small letters only Turkish rules would join.
    folded = folded.replace("i\u0307", "i").replace("\u0131", "i")
    spaced = (
        (_OPTIONAL.sub("", folded) or folded)
        .encode("utf-8", "surrogatepass")
        .translate(_ASCII_WORDS)
        .decode("utf-8", "surrogatepass")
    )
    return " ".join(_NOT_WORD_BEYOND_ASCII.sub(" ", spaced).split()) or " ".join(folded.split())


def _without_markup(text: str) -> str:
    """The text without links' targets, tags and references, also those that others or invisible characters hid."""
    for _ in range(_NESTED_REFERENCES):
        visible = unicodedata.normalize("NFKC", strip_tags(strip_links(_NEVER_SEEN.sub("", text))[0])[0])
        plain = resolve_references(visible)
        if plain == text:
            break
        text = plain
    return text


def same_key(text: str) -> str:
    """What two texts have in common if, and only if, they count as the same: their `text_key` without its spaces.

    The one definition for training, evaluation, hard negatives and translations. Spaces do not count, because tags
    and zero-width spaces stand in the place of a space as often as not, and many scripts put them where they like.
    """
    return text_key(text).replace(" ", "")


def same_hash(text: str) -> int:
    """`hash64` of `same_key`."""
    return hash64(same_key(text))


def word_count(text: str) -> int:
    """Words by white space; in scripts without spaces (`unicode_sets.UNSPACED_RANGES`) two characters are one word."""
    if text.isascii():
        return len(text.split())
    words = 0
    for token in text.split():
        words += max(1, len(_UNSPACED.findall(token)) // 2)
    return words


def word_units(text: str) -> list[str]:
    """Words by white space; of scripts without spaces each character is one, and so is each part between them."""
    return text.split() if text.isascii() else _UNIT.findall(text)


def word_shingles(key: str, size: int) -> list[str]:
    """Runs of `size` words of a `text_key`; of twice as many units where most are characters without spaces.

    The whole text if it has fewer.
    """
    words = word_units(key)
    unspaced = 0 if key.isascii() else sum(map(bool, map(_UNSPACED.match, words)))
    length = 2 * size if 2 * unspaced > len(words) else size
    return [" ".join(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]


def unit_interval(*parts: str) -> float:
    """A number in [0, 1) that depends on the strings alone: splits by it survive reordering and growth."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hash64(*parts: str) -> int:
    """A number of 64 bits that depends on the strings alone: stands for them where all texts would not fit."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode("utf-8"), digest_size=8).digest(), "big")
