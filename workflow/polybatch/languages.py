"""The one table of language codes: ISO 639-1 everywhere in Polybatch, a model's or a data set's own codes only here.

Sources: NLLB codes from the FLORES-200 list, M2M100 codes from its model card, OPUS-MT names from the hub's
`Helsinki-NLP/opus-mt-*` ids, Home Assistant's from the file names in its wheel.
"""

from __future__ import annotations

from dataclasses import dataclass

from polybatch.errors import ConfigError


@dataclass(frozen=True)
class Language:
    """One language and what others call it. An empty code means: not offered there."""

    iso: str
    name: str
    nllb: str
    m2m100: str = ""
    opus: str = ""
    homeassistant: str = ""
    # Characters a translation has for each English one, roughly: what a length ratio is compared with.
    length: float = 1.1

    def __post_init__(self) -> None:
        for field in ("m2m100", "opus", "homeassistant"):
            if not getattr(self, field):
                object.__setattr__(self, field, self.iso)


_TABLE = [
    Language("ar", "Arabic", "arb_Arab", length=0.9),
    Language("bg", "Bulgarian", "bul_Cyrl"),
    Language("bn", "Bengali", "ben_Beng"),
    Language("ca", "Catalan", "cat_Latn"),
    Language("cs", "Czech", "ces_Latn"),
    Language("da", "Danish", "dan_Latn"),
    Language("de", "German", "deu_Latn"),
    Language("el", "Greek", "ell_Grek"),
    Language("en", "English", "eng_Latn"),
    Language("es", "Spanish", "spa_Latn"),
    Language("et", "Estonian", "est_Latn"),
    Language("eu", "Basque", "eus_Latn"),
    Language("fa", "Persian", "pes_Arab"),
    Language("fi", "Finnish", "fin_Latn"),
    Language("fr", "French", "fra_Latn"),
    Language("he", "Hebrew", "heb_Hebr", length=0.8),
    Language("hi", "Hindi", "hin_Deva"),
    Language("hr", "Croatian", "hrv_Latn"),
    Language("hu", "Hungarian", "hun_Latn"),
    Language("id", "Indonesian", "ind_Latn"),
    Language("it", "Italian", "ita_Latn"),
    Language("ja", "Japanese", "jpn_Jpan", length=0.5),
    Language("ko", "Korean", "kor_Hang", length=0.55),
    Language("lt", "Lithuanian", "lit_Latn"),
    Language("lv", "Latvian", "lvs_Latn"),
    Language("nl", "Dutch", "nld_Latn"),
    Language("pl", "Polish", "pol_Latn"),
    Language("pt", "Portuguese", "por_Latn"),
    Language("ro", "Romanian", "ron_Latn"),
    Language("ru", "Russian", "rus_Cyrl"),
    Language("sk", "Slovak", "slk_Latn"),
    Language("sl", "Slovenian", "slv_Latn"),
    Language("sv", "Swedish", "swe_Latn"),
    Language("sw", "Swahili", "swh_Latn"),
    Language("te", "Telugu", "tel_Telu"),
    Language("th", "Thai", "tha_Thai"),
    Language("tr", "Turkish", "tur_Latn"),
    Language("uk", "Ukrainian", "ukr_Cyrl"),
    Language("vi", "Vietnamese", "vie_Latn"),
    Language("yo", "Yoruba", "yor_Latn"),
    Language("zh", "Chinese (simplified)", "zho_Hans", homeassistant="zh-Hans", length=0.35),
]

LANGUAGES: dict[str, Language] = {language.iso: language for language in _TABLE}


def language(iso: str) -> Language:
    """The entry of an ISO 639-1 code; a ConfigError that lists the known codes if there is none."""
    try:
        return LANGUAGES[iso]
    except KeyError:
        raise ConfigError(
            f"Unknown language {iso!r}.",
            expected="an ISO 639-1 code: " + " ".join(LANGUAGES),
            found=iso,
            remedy="use one of these, or add a line to workflow/polybatch/languages.py",
        ) from None


def directions(pair: str) -> tuple[str, str]:
    """`"en-de"` -> `("en", "de")`, both known languages."""
    source, _, target = pair.partition("-")
    if not target or source == target:
        raise ConfigError(f"{pair!r} is no translation direction.", expected="two codes, for example en-de")
    return language(source).iso, language(target).iso
