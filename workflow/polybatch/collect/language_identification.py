"""How sure one can be that a text is in a language: lingua's confidence among common languages.

inputs: none
outputs: `language_confidence(target)`, for the cleaning of sources and the filter of translations; `is_known(target)`
"""

from __future__ import annotations

from collections.abc import Callable

from polybatch.core.errors import ConfigError
from polybatch.core.languages import language

# A fixed set, so that another language in the study does not judge this one's pairs anew.
_TOLD_APART = ("de", "en", "es", "fr", "it", "nl", "pt", "ru")
_LINGUA = {"no": "nb"}  # lingua knows Norwegian as Bokmål and Nynorsk


def language_confidence(target: str) -> Callable[[str], float]:
    """A function text -> confidence, 0 to 1, that it is in the target language and not in a common other one.

    Raises:
        ConfigError: lingua does not know the language.
    """
    from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

    require_known(target)
    own = _LINGUA.get(target, target)
    codes = [getattr(IsoCode639_1, code.upper()) for code in sorted({own, *_TOLD_APART})]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
    wanted = Language.from_iso_code_639_1(getattr(IsoCode639_1, own.upper()))
    return lambda text: detector.compute_language_confidence(text, wanted)


def is_known(target: str) -> bool:
    """Whether lingua knows the language."""
    from lingua import IsoCode639_1

    return hasattr(IsoCode639_1, _LINGUA.get(target, target).upper())


def require_known(target: str) -> None:
    """Raises a ConfigError if lingua does not know the language."""
    if not is_known(target):
        raise ConfigError(
            f"Translations into {language(target).name} cannot be checked: lingua does not know the language.",
            remedy="set translation.accept.min_language_confidence to 0, which leaves this check out for every "
            "language, or take the language out of translation.languages",
        )
