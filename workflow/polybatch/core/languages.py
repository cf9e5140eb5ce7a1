"""The one table of language codes: ISO 639-1 everywhere in Polybatch, a model's or a data set's own codes only here.

Sources: NLLB codes from the FLORES-200 list; M2M100's and mBART-50's from their tokenizers in transformers;
MADLAD-400's from its model card on the hub, which lists Hebrew as `he` where the model's own token is `<2iw>`;
OPUS-MT's from the hub's `Helsinki-NLP/opus-mt-*` repositories; ISO 639-3 codes as mteb writes them in the metadata
of its tasks; Home Assistant's from the file names in its wheel; LibreOffice's from the names of Debian's packages of
its help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybatch.core.errors import ConfigError
from polybatch.core.unicode_sets import UNSPACED_SCRIPTS

_SAME = "="  # the code is the ISO 639-1 one
# Scripts whose full stop holds the space after it, by ISO 15924.
_NO_SPACE_BETWEEN_SENTENCES = frozenset({"Hans", "Hant", "Jpan"})


@dataclass(frozen=True)
class Language:
    """One language and what others call it. An empty code means: not offered there.

    Attributes:
        iso: ISO 639-1.
        name: In English.
        nllb: FLORES-200: ISO 639-3 and the script.
        m2m100, mbart, madlad: The languages of M2M100, mBART-50 and MADLAD-400.
        opus: In the names of OPUS-MT's models of one language.
        homeassistant: In Home Assistant's files.
        libreoffice: In the names of Debian's packages of LibreOffice's help (`libreoffice-help-pt-br`).
        iso3: Further ISO 639-3 codes by which mteb or an OPUS-MT token may name it, beside NLLB's.
        scripts: Further ISO 15924 codes of its usual script.
        length: Characters that a translation has for each English one, roughly: what a length ratio is compared with.
    """

    iso: str
    name: str
    nllb: str
    m2m100: str = _SAME
    mbart: str = ""
    madlad: str = _SAME
    opus: str = _SAME
    homeassistant: str = _SAME
    libreoffice: str = ""
    iso3: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    length: float = 1.1

    def __post_init__(self) -> None:
        for field in ("m2m100", "madlad", "opus", "homeassistant", "libreoffice"):
            if getattr(self, field) == _SAME:
                object.__setattr__(self, field, self.iso)

    @property
    def three_letters(self) -> tuple[str, ...]:
        """Its ISO 639-3 codes, NLLB's first."""
        return (self.nllb.split("_")[0], *self.iso3)

    @property
    def spaced(self) -> bool:
        """Whether white space stands between its sentences."""
        return self._script not in _NO_SPACE_BETWEEN_SENTENCES

    @property
    def spaced_words(self) -> bool:
        """Whether white space stands between its words. Thai, for one, has it between sentences only."""
        return self._script not in UNSPACED_SCRIPTS

    @property
    def _script(self) -> str:
        """ISO 15924 code of its usual script."""
        return self.nllb.split("_")[1]

    def opus_tokens(self) -> Iterator[str]:
        """What may ask an OPUS-MT model of several target languages for this one, the most specific first."""
        script = self._script
        codes = [*reversed(self.three_letters)] if self.iso == "zh" else list(self.three_letters)
        for code in codes:
            yield f">>{code}_{script}<<"
        for code in [*codes, self.iso]:
            yield f">>{code}<<"


_TABLE = [
    Language("af", "Afrikaans", "afr_Latn", mbart="af_ZA"),
    Language("am", "Amharic", "amh_Ethi", length=0.65),
    Language("ar", "Arabic", "arb_Arab", mbart="ar_AR", iso3=("ara",), length=0.9),
    Language("as", "Assamese", "asm_Beng", m2m100=""),
    Language("az", "Azerbaijani", "azj_Latn", mbart="az_AZ", iso3=("aze",)),
    Language("be", "Belarusian", "bel_Cyrl"),
    Language("bg", "Bulgarian", "bul_Cyrl"),
    Language("bn", "Bengali", "ben_Beng", mbart="bn_IN"),
    Language("bs", "Bosnian", "bos_Latn"),
    Language("ca", "Catalan", "cat_Latn", libreoffice=_SAME),
    Language("cs", "Czech", "ces_Latn", libreoffice=_SAME, mbart="cs_CZ"),
    Language("cy", "Welsh", "cym_Latn"),
    Language("da", "Danish", "dan_Latn", libreoffice=_SAME),
    Language("de", "German", "deu_Latn", libreoffice=_SAME, mbart="de_DE"),
    Language("el", "Greek", "ell_Grek", libreoffice=_SAME),
    Language("en", "English", "eng_Latn", libreoffice="en-us", mbart="en_XX"),
    Language("es", "Spanish", "spa_Latn", libreoffice=_SAME, mbart="es_XX"),
    Language("et", "Estonian", "est_Latn", libreoffice=_SAME, mbart="et_EE", iso3=("ekk",)),
    Language("eu", "Basque", "eus_Latn", libreoffice=_SAME, m2m100=""),
    Language("fa", "Persian", "pes_Arab", mbart="fa_IR", iso3=("fas",)),
    Language("fi", "Finnish", "fin_Latn", libreoffice=_SAME, mbart="fi_FI"),
    Language("fr", "French", "fra_Latn", libreoffice=_SAME, mbart="fr_XX"),
    Language("ga", "Irish", "gle_Latn"),
    Language("gl", "Galician", "glg_Latn", libreoffice=_SAME, mbart="gl_ES"),
    Language("gu", "Gujarati", "guj_Gujr", mbart="gu_IN"),
    Language("ha", "Hausa", "hau_Latn"),
    Language("he", "Hebrew", "heb_Hebr", mbart="he_IL", madlad="iw", length=0.8),
    Language("hi", "Hindi", "hin_Deva", libreoffice=_SAME, mbart="hi_IN"),
    Language("hr", "Croatian", "hrv_Latn", mbart="hr_HR"),
    Language("hu", "Hungarian", "hun_Latn", libreoffice=_SAME),
    Language("hy", "Armenian", "hye_Armn"),
    Language("id", "Indonesian", "ind_Latn", libreoffice=_SAME, mbart="id_ID"),
    Language("ig", "Igbo", "ibo_Latn"),
    Language("is", "Icelandic", "isl_Latn"),
    Language("it", "Italian", "ita_Latn", libreoffice=_SAME, mbart="it_IT"),
    Language("ja", "Japanese", "jpn_Jpan", libreoffice=_SAME, mbart="ja_XX", opus="jap", length=0.5),
    Language("jv", "Javanese", "jav_Latn"),
    Language("ka", "Georgian", "kat_Geor", mbart="ka_GE"),
    Language("kk", "Kazakh", "kaz_Cyrl", mbart="kk_KZ"),
    Language("km", "Khmer", "khm_Khmr", libreoffice=_SAME, mbart="km_KH"),
    Language("kn", "Kannada", "kan_Knda"),
    Language("ko", "Korean", "kor_Hang", libreoffice=_SAME, mbart="ko_KR", scripts=("Kore",), length=0.55),
    Language("ky", "Kyrgyz", "kir_Cyrl", m2m100=""),
    Language("lo", "Lao", "lao_Laoo"),
    Language("lt", "Lithuanian", "lit_Latn", mbart="lt_LT"),
    Language("lv", "Latvian", "lvs_Latn", mbart="lv_LV", iso3=("lav",)),
    Language("mk", "Macedonian", "mkd_Cyrl", mbart="mk_MK"),
    Language("ml", "Malayalam", "mal_Mlym", mbart="ml_IN"),
    Language("mn", "Mongolian", "khk_Cyrl", mbart="mn_MN", iso3=("mon",)),
    Language("mr", "Marathi", "mar_Deva", mbart="mr_IN"),
    Language("ms", "Malay", "zsm_Latn", iso3=("msa",)),
    Language("mt", "Maltese", "mlt_Latn", m2m100=""),
    Language("my", "Burmese", "mya_Mymr", mbart="my_MM"),
    Language("ne", "Nepali", "npi_Deva", mbart="ne_NP", iso3=("nep",)),
    Language("nl", "Dutch", "nld_Latn", libreoffice=_SAME, mbart="nl_XX"),
    Language("no", "Norwegian (Bokmål)", "nob_Latn", homeassistant="nb", iso3=("nor",)),
    Language("or", "Odia", "ory_Orya", iso3=("ori",)),
    Language("pa", "Punjabi", "pan_Guru"),
    Language("pl", "Polish", "pol_Latn", libreoffice=_SAME, mbart="pl_PL"),
    Language("ps", "Pashto", "pbt_Arab", mbart="ps_AF", iso3=("pus",)),
    Language("pt", "Portuguese", "por_Latn", libreoffice="pt-br", mbart="pt_XX"),
    Language("ro", "Romanian", "ron_Latn", mbart="ro_RO"),
    Language("ru", "Russian", "rus_Cyrl", libreoffice=_SAME, mbart="ru_RU"),
    Language("sd", "Sindhi", "snd_Arab"),
    Language("si", "Sinhala", "sin_Sinh", mbart="si_LK"),
    Language("sk", "Slovak", "slk_Latn", libreoffice=_SAME),
    Language("sl", "Slovenian", "slv_Latn", libreoffice=_SAME, mbart="sl_SI"),
    Language("so", "Somali", "som_Latn"),
    Language("sq", "Albanian", "als_Latn", iso3=("sqi",)),
    Language("sr", "Serbian", "srp_Cyrl"),
    Language("su", "Sundanese", "sun_Latn"),
    Language("sv", "Swedish", "swe_Latn", libreoffice=_SAME, mbart="sv_SE"),
    Language("sw", "Swahili", "swh_Latn", mbart="sw_KE", iso3=("swa",)),
    Language("ta", "Tamil", "tam_Taml", mbart="ta_IN"),
    Language("te", "Telugu", "tel_Telu", mbart="te_IN", m2m100=""),
    Language("tg", "Tajik", "tgk_Cyrl", m2m100=""),
    Language("th", "Thai", "tha_Thai", mbart="th_TH"),
    Language("tl", "Tagalog", "tgl_Latn", mbart="tl_XX", madlad="fil"),
    Language("tr", "Turkish", "tur_Latn", libreoffice=_SAME, mbart="tr_TR"),
    Language("uk", "Ukrainian", "ukr_Cyrl", mbart="uk_UA"),
    Language("ur", "Urdu", "urd_Arab", mbart="ur_PK"),
    Language("uz", "Uzbek", "uzn_Latn", iso3=("uzb",)),
    Language("vi", "Vietnamese", "vie_Latn", libreoffice=_SAME, mbart="vi_VN"),
    Language("xh", "Xhosa", "xho_Latn", mbart="xh_ZA"),
    Language("yo", "Yoruba", "yor_Latn"),
    Language(
        "zh",
        "Chinese (simplified)",
        "zho_Hans",
        mbart="zh_CN",
        homeassistant="zh-Hans",
        libreoffice="zh-cn",
        iso3=("cmn",),
        length=0.35,
    ),
    Language("zu", "Zulu", "zul_Latn"),
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
            remedy="use one of these, or add a line to workflow/polybatch/core/languages.py",
        ) from None


def parse_direction(pair: str) -> tuple[str, str]:
    """`"en-de"` -> `("en", "de")`, both known languages."""
    source, _, target = pair.partition("-")
    if not target or source == target:
        raise ConfigError(f"{pair!r} is no translation direction.", expected="two codes, for example en-de")
    return language(source).iso, language(target).iso


_BY_MTEB: dict[str, str] = {
    f"{code}-{script}": entry.iso
    for entry in _TABLE
    for code in entry.three_letters
    for script in (entry.nllb.split("_")[1], *entry.scripts)
}


def from_mteb(code: str) -> str:
    """mteb's ISO 639-3 code and script as ISO 639-1: `"deu-Latn"` -> `"de"`.

    A language in another script than its usual one (`hin-Latn`, `zho-Hant`) is another language to a tokenizer and
    to a reader, and has no code here.

    Raises:
        ConfigError: It stands for no language of the table.
    """
    if code not in _BY_MTEB:
        raise ConfigError(
            f"mteb's language {code!r} is not one of ours.",
            expected="an ISO 639-3 code and script, for example " + " ".join(list(_BY_MTEB)[:4]),
            found=code,
            remedy="leave the language out, or add a line to workflow/polybatch/core/languages.py",
        )
    return _BY_MTEB[code]


def help_languages(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """ISO codes, but English, of a source of LibreOffice's help: those that its entry names, else all there are."""
    named = spec.get("languages") or [iso for iso, entry in LANGUAGES.items() if entry.libreoffice]
    return tuple(sorted(set(named) - {"en"}))
