"""Translates each distinct text once, and tells when a translator has collapsed.

inputs: a `Translator`, texts
outputs: text -> translation, in memory
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.translation.translator import Translator

_TEXTS_PER_CALL = 2000


_COLLAPSE_MIN_TEXTS = 50


def translate_distinct(
    translator: Translator,
    texts: Iterable[str],
    part: str = "",
    each: Callable[[dict[str, str]], object] | None = None,
) -> dict[str, str]:
    """text -> translation for the distinct texts, with progress; `part` is added to its label.

    `each` is given some thousands of them at a time, as they come.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    label = f"{_direction(translator)} translation{part}"
    found = _in_chunks(translator, distinct, each)
    return dict(stage.progress(found, total=len(distinct), label=label, unit="texts"))


def tell(translator: Translator) -> None:
    """Logs what a translator has done, and how many translations it had to cut off."""
    work = translator.work
    rate = work.sentences / work.seconds if work.seconds else 0.0
    told = (_direction(translator), work.sentences, work.seconds, rate)
    stage.log.info("%s: %d sentences in %.1f s, %.1f sentences/s", *told)
    if work.unfinished:
        stage.log.warning(
            "%s: %d translations were cut off at %d tokens (decoding.max_length); the filter judges them as any other",
            _direction(translator),
            work.unfinished,
            translator.options.max_length,
        )


def _direction(translator: Translator) -> str:
    return f"{translator.source_lang}-{translator.target_lang}"


def _in_chunks(
    translator: Translator, texts: list[str], each: Callable[[dict[str, str]], object] | None
) -> Iterator[tuple[str, str]]:
    for i in range(0, len(texts), _TEXTS_PER_CALL):
        chunk = texts[i : i + _TEXTS_PER_CALL]
        found = dict(zip(chunk, translator.translate_texts(chunk), strict=True))
        if each is not None:
            each(found)
        yield from found.items()


def check_collapse(translations: dict[str, str], translator: Translator, min_distinct: float) -> None:
    """Raises a DataError if many inputs share few outputs: such a translator teaches a retriever nonsense."""
    if len(translations) < _COLLAPSE_MIN_TEXTS:
        return
    distinct = len(set(translations.values()))
    if distinct < min_distinct * len(translations):
        raise DataError(
            f"The translator {_direction(translator)} has collapsed.",
            where=translator.folder,
            expected=f"at least {min_distinct:.0%} distinct translations",
            found=f"{distinct} distinct translations of {len(translations)} distinct texts",
            remedy="train it longer (translator_training.options.max_steps), or name another one in "
            "translation.translators",
        )
