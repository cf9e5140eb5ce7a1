"""Text normalisation that several stages must agree on: what a string looks like, and when two are the same."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_EMPHASIS = re.compile(r"(\*\*|__|`+)")
_BULLET = re.compile(r"^\s*(?:[-*•]|#+)\s+", re.MULTILINE)
_MARKUP = re.compile(r"[\[<*_`\n#•-]")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
# Vowel signs and other combining marks are parts of words, which Python's \w does not count: without them Hindi's
# "ki" and "ka" would be the same.
_MARKS = "".join(chr(c) for c in range(0x300, 0xFE30) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
# The same in two steps, several times as fast: of UTF-8, ASCII's letters in lower case, its digits, and spaces for all
# else of it; then, where there is any, what is beyond ASCII.
_ASCII_WORDS = bytes(c if c > 127 else ord(chr(c).lower()) if chr(c).isalnum() else 32 for c in range(256))
_NOT_WORD_BEYOND_ASCII = re.compile(rf"[^\w{_MARKS}\x00-\x7f]+")
# Controls, soft hyphens, zero-width spaces, direction marks, replacement characters, noncharacters. Joiners
# (U+200C, U+200D) stay: Persian, Hindi and others spell with them.
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


def text_key(text: str) -> str:
    """What two texts must share to count as the same: letters and digits, NFKC, case folded.

    Used for the split, for keeping held-out text out of training, and for removing duplicates. Texts without
    any letter or digit keep their characters, so that they do not all fall together.
    """
    if text.isascii():
        return b" ".join(text.encode().translate(_ASCII_WORDS).split()).decode() or text.lower().strip()
    folded = unicodedata.normalize("NFKC", text).casefold()
    spaced = folded.encode("utf-8", "surrogatepass").translate(_ASCII_WORDS).decode("utf-8", "surrogatepass")
    return " ".join(_NOT_WORD_BEYOND_ASCII.sub(" ", spaced).split()) or folded.strip()


def word_count(text: str) -> int:
    """Words by white space; for scripts without spaces, two characters count as one word."""
    if text.isascii():
        return len(text.split())
    words = 0
    for token in text.split():
        wide = sum("\u3040" <= ch <= "\u9fff" or "\u0e00" <= ch <= "\u0e7f" for ch in token)
        words += max(1, wide // 2)
    return words


def unit_interval(*parts: str) -> float:
    """A number in [0, 1) that depends on the strings alone: splits by it survive reordering and growth."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hash64(*parts: str) -> int:
    """A number of 64 bits that depends on the strings alone: stands for them where all texts would not fit."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode("utf-8"), digest_size=8).digest(), "big")
