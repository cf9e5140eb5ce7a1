"""The sets of characters are those of the Unicode data that the regex package carries."""

from __future__ import annotations

import unicodedata

import pytest
import regex

from polybatch.core.languages import LANGUAGES
from polybatch.core.unicode_sets import INVISIBLE_RANGES, UNSPACED_RANGES, UNSPACED_SCRIPTS, ranges

UNSPACED = (
    r"[[[\p{lb=SA}\p{lb=ID}\p{lb=CJ}\p{lb=AK}\p{lb=AP}\p{lb=AS}\p{lb=VI}\p{lb=VF}\p{Script=Tibt}]&&[\p{L}\p{M}]"
    r"--[\p{Script=Latn}\p{Script=Hang}]][\p{Script=Hani}&&\p{N}]]"
)
INVISIBLE = (
    r"[[\p{Cc}--[\t-\r\x85]]\p{Cf}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800\ufffc\ufffd]"
)


@pytest.mark.parametrize(("table", "pattern"), [(UNSPACED_RANGES, UNSPACED), (INVISIBLE_RANGES, INVISIBLE)])
def test_ranges_follow_from_the_definition(table: str, pattern: str) -> None:
    """For every character that Python's own, older data know: later versions of Unicode add others."""
    known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    derived = set(regex.findall(pattern, "".join(known), flags=regex.V1))
    tabled = {chr(c) for first, last in ranges(table) for c in range(first, last + 1)} & set(known)
    assert tabled == derived


def test_scripts_of_our_languages() -> None:
    """By the letters of each script, as the regex package has them."""
    unspaced = {chr(c) for first, last in ranges(UNSPACED_RANGES) for c in range(first, last + 1)}
    letters = "".join(c for c in map(chr, range(0x30000)) if c.isalpha())
    for code in sorted({entry.nllb.split("_")[1] for entry in LANGUAGES.values()} | {"Tibt", "Java", "Bali"}):
        script = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hira", "Hang": "Hang"}.get(code, code)
        own = regex.findall(rf"\p{{Script={script}}}", letters)
        assert (2 * sum(c in unspaced for c in own) > len(own)) == (code in UNSPACED_SCRIPTS), code
