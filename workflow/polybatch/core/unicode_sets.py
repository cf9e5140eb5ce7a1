"""Two sets of characters that Python's own Unicode data do not tell, as ranges of code points.

inputs: none
outputs: UNSPACED_RANGES and INVISIBLE_RANGES, the two sets of the table

Both are read off the Unicode Character Database, version 18.0; tests/unit/core/test_unicode_sets.py derives them again
and compares. In the notation of Unicode Technical Standard 18:

| set         | definition                                                                                          |
|-------------|-----------------------------------------------------------------------------------------------------|
| `UNSPACED`  | letters and marks of the line-break classes SA, ID, CJ, AK, AP, AS, VI and VF, without Latin and    |
|             | Hangul; letters and marks of Tibetan; numbers of Han                                                |
| `INVISIBLE` | Cc without white space, Cf, Default_Ignorable_Code_Point, Noncharacter_Code_Point, and U+2800,      |
|             | U+FFFC, U+FFFD                                                                                      |

The line-break classes are those of Unicode Standard Annex 14 for writing without spaces between words: SA of South East
Asia (Thai, Lao, Khmer, Burmese, Tai), ID and CJ of Han, kana and Yi, the last five of the Brahmic scripts that break at
orthographic syllables (Javanese, Balinese, Batak, Cham). Tibetan, of which the Annex says that it has marks between
syllables and none between words, is in none of these classes. Latin and Hangul are in ID as full-width forms alone.
"""

from __future__ import annotations

from itertools import chain

UNSPACED_RANGES = (
    "E01-E3A E40-E4E E81-E82 E84 E86-E8A E8C-EA3 EA5 EA7-EBD EC0-EC4 EC6 EC8-ECE EDC-EDF F00 F18-F19 F35 "
    "F37 F39 F3E-F47 F49-F6C F71-F84 F86-F97 F99-FBC FC6 1000-103F 1050-108F 109A-109D 1780-17D3 17D7 "
    "17DC-17DD 1950-196D 1970-1974 1980-19AB 19B0-19C9 1A20-1A5E 1A60-1A7C 1AA7 1B05-1B33 1B44-1B4C "
    "1BC0-1BE5 1BF2-1BF3 3006-3007 3021-3029 3031-3034 3038-303A 3041-3096 309F 30A1-30FA 30FC 30FF "
    "3105-312F 31A0-31BF 31F0-31FF 3400-4DBF 4E00-A014 A016-A48C A984-A9B2 A9C0 A9E0-A9EF A9FA-A9FE "
    "AA00-AA28 AA60-AA76 AA7A-AAC2 AADB-AADD F900-FA6D FA70-FAD9 FF66-FF9D 11003-11037 11046 11071-11072 "
    "11075 11305-1130C 1130F-11310 11313-11328 1132A-11330 11332-11333 11335-11339 1134D 11350 "
    "1135E-11361 11380-11389 1138B 1138E 11390-113B5 113B7 113D0-113D1 113D3 11700-1171A 1171D-1172B "
    "11740-11746 11900-11906 11909 1190C-11913 11915-11916 11918-1192F 1193E-1193F 11941 11EE0-11EF1 "
    "11F02 11F04-11F10 11F12-11F33 11F42 16100-1611D 16FF4-16FF6 17000-18AFF 18D00-18D20 18D80-18DF2 "
    "18E00-19191 191A0-191D2 1B000-1B128 1B132 1B150-1B152 1B155 1B164-1B168 1B170-1B2FB 20000-2A6DF "
    "2A700-2B81E 2B820-2CEAD 2CEB0-2EBE0 2EBF0-2EE5D 2F800-2FA1D 30000-3134A 31350-33479 3D000-3FC3F "
)
INVISIBLE_RANGES = (
    "0-8 E-1F 7F-84 86-9F AD 34F 600-605 61C 6DD 70F 890-891 8E2 115F-1160 17B4-17B5 180B-180F 200B-200F "
    "202A-202E 2060-206F 2800 3164 FDD0-FDEF FE00-FE0F FEFF FFA0 FFF0-FFFF 110BD 110CD 13430-1343F "
    "1BCA0-1BCA3 1D173-1D17A 1FFFE-1FFFF 2FFFE-2FFFF 3FFFE-3FFFF 4FFFE-4FFFF 5FFFE-5FFFF 6FFFE-6FFFF "
    "7FFFE-7FFFF 8FFFE-8FFFF 9FFFE-9FFFF AFFFE-AFFFF BFFFE-BFFFF CFFFE-CFFFF DFFFE-E0FFF EFFFE-EFFFF "
    "FFFFE-FFFFF 10FFFE-10FFFF "
)
# Scripts, by their ISO 15924 codes, most of whose letters are unspaced; Hans, Hant and Jpan are ways to write them.
_NAMES_OF_UNSPACED_SCRIPTS = (
    "Ahom Bali Batk Bopo Brah Cham Diak Gran Gukh Hani Hira Java Kana Kawi Khmr Lana Laoo Maka Mymr Nshu Tale "
    "Talu Tang Tavt Thai Tibt Tutg Yiii Hans Hant Jpan "
)
UNSPACED_SCRIPTS = frozenset(_NAMES_OF_UNSPACED_SCRIPTS.split())


def ranges(text: str) -> list[tuple[int, int]]:
    """(first, last) code points, ascending, of ranges spelled in hexadecimal: "E01-E3A F00"."""
    ends = (part.partition("-") for part in text.split())
    return [(int(first, 16), int(last or first, 16)) for first, _, last in ends]


def character_class(text: str) -> str:
    """The ranges as they stand within the brackets of a regular expression."""
    return "".join(chain.from_iterable((rf"\U{first:08X}", "-", rf"\U{last:08X}") for first, last in ranges(text)))
