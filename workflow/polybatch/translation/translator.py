"""A translator: a CTranslate2 model with its tokenizer, ready to translate plain texts in one direction.

inputs: a translator folder: a CTranslate2 model, the SentencePiece models, and `translator.json` (its card), which
    says of what family it is, which directions it serves, under which licence, and how well it did
outputs: translations, in the order of the texts

A text is split into sentences, and a sentence longer than the model reads is split further, at clauses or spaces:
nothing is cut off unseen. What stood between the parts is put back.
"""

from __future__ import annotations

import ctypes
import re
import time
import unicodedata
from collections import ChainMap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.device import given_cards
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.core.languages import language, parse_direction
from polybatch.core.sums import check_sums
from polybatch.translation.families import FAMILIES, FILES, family_fault, tokenizer
from polybatch.translation.options import AUTO, DecodingOptions

SENTENCEPIECE = FILES["m2m100"][0]
CARD = "translator.json"
_POSITIONS = 1024  # of a card that does not say: M2M100's
_MAX_WORKERS = 4
_REMEMBERED_SENTENCES = 200_000  # some 60 MB
_CLAUSE_END = ",;:)\u2013\u2014\u3001\uff0c\uff1b\uff1a\u3002\u060c\u061b"


@dataclass
class Work:
    """Counts of what a translator has done so far.

    Attributes:
        sentences: Sentences, or parts of too long ones, that were translated.
        tokens: Source tokens, special ones included.
        split: Sentences that were too long and were split.
        unfinished: Translations that ended because they were `max_length` tokens long.
        seconds: Time that it took, tokenization included, s.
    """

    sentences: int = 0
    tokens: int = 0
    split: int = 0
    unfinished: int = 0
    seconds: float = 0.0


def read_card(folder: Path) -> dict[str, Any]:
    """`translator.json` of a translator folder; a DataError says what is missing, or that its family is unknown."""
    card = read_json(folder / CARD) if (folder / CARD).exists() else {}
    if family_fault(card):
        raise DataError(
            "A translator is of no known family.",
            where=folder / CARD,
            expected=f"family: one of {', '.join(FAMILIES)}; without one it is m2m100",
            found=repr(card["family"]),
            remedy="correct it: docs/translation.md lists the families and their files",
        )
    needed = (CARD, "model.bin", *FILES[card.get("family", "m2m100")])
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise DataError(
            "A translator folder is incomplete.",
            where=folder,
            expected=", ".join(needed),
            found=f"no {', no '.join(missing)}",
            remedy="make it with `snakemake translators`, or name another folder in translation.translators",
        )
    return card


class Translator:
    """Translates texts from one language into another.

    Attributes:
        card: What `translator.json` says.
        source_lang, target_lang: ISO 639-1.
        device, compute_type: What is used, not what was asked for; "cuda x2" for two cards.
        work: Counts over all calls.
    """

    def __init__(self, folder: Path, direction: str, options: DecodingOptions, threads: int = 1) -> None:
        card = read_card(folder)
        if direction not in card["directions"]:
            raise ConfigError(
                f"The translator does not translate {direction}.",
                where=folder,
                expected=f"one of {' '.join(card['directions'])}",
                found=direction,
                remedy="name a translator for this direction in translation.translators",
            )
        self.folder, self.options, self.card, self.work = folder, options, card, Work()
        self.source_lang, self.target_lang = parse_direction(direction)
        self._tokenizer = tokenizer(folder, card, self.source_lang, self.target_lang)
        self._model = _load(folder, card, options, threads)
        cards = len(self._model.device_index)
        self.device = self._model.device + (f" x{cards}" if cards > 1 else "")
        self.compute_type = self._model.compute_type
        stage.log.info("%s: translating on %s as %s", direction, self.device, self.compute_type)
        self._longest = min(card.get("positions", _POSITIONS), options.max_length)
        self._known: dict[str, str] = {}

    def translate(self, sentences: list[str]) -> list[str]:
        """Translations in the order of `sentences`; an empty sentence stays empty."""
        start = time.perf_counter()
        parts = [list(self._parts(sentence)) for sentence in sentences]
        translations = iter(self._translate_tokens([tokens for part in parts for tokens, _ in part]))
        joined = [self._rejoin([(next(translations), space) for _, space in part]) for part in parts]
        self.work.seconds += time.perf_counter() - start
        return joined

    def translate_texts(self, texts: list[str]) -> list[str]:
        """Translates texts of several sentences: split, each distinct one translated once over all calls, rejoined.

        Of very many sentences the first are remembered, the others translated again if they come in another call.
        """
        split = [list(_sentences(text, self.source_lang)) for text in texts]
        distinct = dict.fromkeys(sentence for parts in split for sentence, _ in parts)
        new = [sentence for sentence in distinct if sentence not in self._known]
        found = dict(zip(new, self.translate(new), strict=True))
        translated = ChainMap(found, self._known)
        joined = [self._rejoin([(translated[sentence], space) for sentence, space in parts]) for parts in split]
        self._known.update(islice(found.items(), max(0, _REMEMBERED_SENTENCES - len(self._known))))
        return joined

    def _parts(self, sentence: str) -> Iterator[tuple[list[str], str]]:
        """(tokens, white space after them) of a sentence, or of the parts of a too long one."""
        if not sentence.strip():
            return
        tokens = self._tokenizer.tokens(sentence)
        if len(tokens) <= self._longest:
            yield tokens, ""
            return
        self.work.split += 1
        for part, space in split_long(sentence, lambda text: len(self._tokenizer.tokens(text)) <= self._longest):
            yield self._tokenizer.tokens(part), space

    def _translate_tokens(self, sources: list[list[str]]) -> list[str]:
        prefix = self._tokenizer.prefix
        try:
            results = self._model.translate_batch(
                sources,
                target_prefix=[prefix] * len(sources) if prefix else None,
                beam_size=self.options.beam_size,
                max_batch_size=self.options.batch_tokens,
                batch_type="tokens",
                max_input_length=0,
                max_decoding_length=self.options.max_length,
            )
        except RuntimeError as error:
            raise _told(error, self.options) from error
        self.work.sentences += len(sources)
        self.work.tokens += sum(map(len, sources))
        found = [result.hypotheses[0] for result in results]
        self.work.unfinished += sum(len(tokens) >= self.options.max_length for tokens in found)
        return [self._tokenizer.text(tokens[len(prefix) :]) for tokens in found]

    def _rejoin(self, parts: list[tuple[str, str]]) -> str:
        return "".join(text + _gap(space, self.source_lang, self.target_lang) for text, space in parts).strip()


def _load(folder: Path, card: dict[str, Any], options: DecodingOptions, threads: int) -> Any:
    import ctranslate2

    check_sums(folder)
    device, cards = _device(options.device)
    compute_type = options.compute_type
    if compute_type == AUTO:
        compute_type = _compute_type(device, card)
    workers = 1 if device == "cuda" else workers_of(threads)
    try:
        return ctranslate2.Translator(
            str(folder),
            device=device,
            device_index=list(range(cards)) if device == "cuda" else 0,
            compute_type=compute_type,
            inter_threads=workers,
            intra_threads=threads // workers,
        )
    except ValueError as error:
        raise ConfigError(
            f"The translator cannot be run as {options.compute_type} on {device}.",
            where="translation.decoding.compute_type",
            expected="auto, default, or one of " + " ".join(sorted(ctranslate2.get_supported_compute_types(device))),
            found=str(error),
        ) from error
    except RuntimeError as error:
        raise _told(error, options) from error


def workers_of(threads: int) -> int:
    """How many batches a CPU of so many threads translates side by side: one a thread, as far as there is memory.

    A thread that has a batch to itself waits for nobody; threads that share one wait for each other many times a token.
    The translations are the same. The weights are shared, but every batch at work holds its own scores of the whole
    vocabulary for every beam.
    """
    return max(count for count in range(1, _MAX_WORKERS + 1) if threads % count == 0)


def _device(wanted: str) -> tuple[str, int]:
    """cpu or cuda, and how many cards CTranslate2 sees."""
    import ctranslate2

    cards = 0 if wanted == "cpu" else ctranslate2.get_cuda_device_count()
    if wanted == "cuda" and not cards:
        raise ConfigError(
            "Translation is to run on a GPU, and CTranslate2 finds none.",
            where="translation.decoding.device",
            found=wanted,
            remedy="set it to cpu or auto, or run on a machine with an NVIDIA GPU and its CUDA libraries",
        )
    if cards:
        load_cublas()
    elif wanted == AUTO and given_cards():
        stage.log.warning(
            "given the card(s) %s, BUT TRANSLATING ON THE CPU: CTranslate2 finds no card; nvidia-smi tells whether the "
            "driver does, and docs/gpu.md what is needed",
            given_cards(),
        )
    return "cuda" if cards else "cpu", cards


def _compute_type(device: str, card: dict[str, Any]) -> str:
    import ctranslate2

    faster = "int8_bfloat16"
    on_card = device == "cuda" and card.get("quantization") == "int8"
    return faster if on_card and faster in ctranslate2.get_supported_compute_types(device) else "default"


def load_cublas() -> None:
    """Loads the libraries of the package nvidia-cublas-cu12 where it is installed.

    CTranslate2 asks the system for libcublas.so.12 when it first needs it; a library of that name that is loaded
    already serves, wherever it lies. Otherwise the system's is taken.
    """
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = {path.name: path for path in files("nvidia-cublas-cu12") or []}
    except PackageNotFoundError:
        return
    for name in ("libcublasLt.so.12", "libcublas.so.12"):  # the second needs the first
        if name in found:
            ctypes.CDLL(str(found[name].locate()), mode=ctypes.RTLD_GLOBAL)


def _told(error: RuntimeError, options: DecodingOptions) -> Exception:
    """What CTranslate2 threw, in terms of the configuration where that helps."""
    if "libcublas" in str(error):
        return ConfigError(
            "Translation is to run on a GPU, and CTranslate2 does not find cuBLAS 12.",
            found=str(error),
            remedy="pip install nvidia-cublas-cu12, or set translation.decoding.device to cpu",
        )
    if "out of memory" in str(error):
        return ConfigError(
            "The GPU's memory does not hold the translators and a batch.",
            where="translation.decoding.batch_tokens",
            found=f"{options.batch_tokens}, beam_size {options.beam_size}; {error}",
            remedy="lower batch_tokens, or see with nvidia-smi what else uses the GPU",
        )
    return error


def _gap(space: str, source_lang: str, target_lang: str) -> str:
    """What stands after a part of the translation, where `space` stood after that part of the source.

    A language without spaces between sentences keeps the line ends alone; from one into a language with them, a
    space is put where the source had none.
    """
    if not language(target_lang).spaced:
        return "\n" * space.count("\n")
    return space if space or language(source_lang).spaced_words else " "


def _sentences(text: str, lang: str) -> Iterator[tuple[str, str]]:
    """(sentence, white space after it), which joined give the text again, its leading white space left out."""
    import sentencex

    parts = list(sentencex.segment(lang, text))
    if "".join(parts) != text:  # no rule of its makers, so not to be relied upon: a text is never lost to it
        parts = [text]
    sentence, space = "", ""
    for part in parts:
        if not part.strip():
            space += part
            continue
        if sentence:
            yield sentence, space
        sentence = part.rstrip()
        space = part[len(sentence) :]
    if sentence:
        yield sentence, space


def split_long(sentence: str, fits: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """(part, white space after it) of a sentence that does not fit, cut near the middle until every part does.

    Cut after a clause if one ends in the middle half, else at a space, else between any two characters. A single
    character is a part even if it does not fit.
    """
    if fits(sentence) or len(sentence) < 2:
        yield sentence, ""
        return
    cut = _middle_cut(sentence)
    left = sentence[:cut].rstrip()
    right = sentence[cut:].lstrip()
    *first, (last, _) = split_long(left, fits)
    yield from first
    yield last, sentence[len(left) : len(sentence) - len(right)]
    yield from split_long(right, fits)


def _middle_cut(sentence: str) -> int:
    """Where to cut a sentence of two characters or more without outer white space: both sides hold some text."""
    half, quarter = len(sentence) // 2, len(sentence) // 4
    clauses = [m.end() for m in re.finditer(rf"[{_CLAUSE_END}](?=\s|[^\x00-\u02ff])", sentence)]
    clauses = [i for i in clauses if quarter <= i <= len(sentence) - quarter]
    spaces = [m.start() for m in re.finditer(r"\s+", sentence)]
    whole = [i for i in range(1, len(sentence)) if not unicodedata.category(sentence[i]).startswith("M")]
    inside = [[i for i in found if 0 < i < len(sentence)] for found in (clauses, spaces, whole)]
    return min(next((found for found in inside if found), [half]), key=lambda i: abs(i - half))
