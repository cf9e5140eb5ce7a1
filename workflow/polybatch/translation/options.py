"""The options of translation: translators, how they are trained, how they decode, what is accepted of their work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from polybatch.core.languages import LANGUAGES
from polybatch.core.option_types import (
    DISTINCT,
    FilePath,
    HubId,
    LanguageCode,
    LanguageCodes,
    Name,
    Revision,
    Said,
    Seed,
    Share,
)
from polybatch.core.options import ABSENT, REQUIRED, Conflict, Options, Section, one_of, option

AUTO = "auto"
MOST_SHARDS = 10_000  # each is a job of its own, in each language
Quantization = Literal["int8", "int8_float16", "int8_float32", "int16", "float16", "float32", "bfloat16"]
TrainedQuantization = Literal["int8", "int8_float32", "int16", "float16", "float32"]


def _direction(text: str) -> str:
    source, _, target = text.partition("-")
    if source not in LANGUAGES or target not in LANGUAGES or source == target:
        raise ValueError(f"{text!r} is no direction: two different ISO 639-1 codes, such as en-de")
    return text


def _english_direction(text: str) -> str:
    if "en" not in text.split("-"):
        raise ValueError(f"{text!r} has no English side")
    return text


DirectionName = Annotated[
    str,
    Field(pattern="^[a-z]{2}-[a-z]{2}$"),
    AfterValidator(_direction),
    Said("a direction, such as en-de", "directions such as en-de"),
]


class DecodingOptions(Options):
    """How sentences are decoded (`translation.decoding`); lengths and batches in tokens."""

    beam_size: int = option(4, "Beam width; 1 is greedy search.", ge=1)
    batch_tokens: int = option(2048, "Source tokens a batch, padding included; bounds memory.", ge=1)
    compute_type: str = option(
        AUTO,
        "CTranslate2's name, such as `int8` or `float32`; `default` takes the model as stored, or what the device "
        "has next to it. `auto` does too, but on a card that computes in bfloat16 an `int8` model does the rest in "
        "that (`int8_bfloat16`).",
    )
    device: Literal["cpu", "cuda", "auto"] = option(
        AUTO, "Where to translate; `auto` takes the cards that the job has, else the CPU."
    )
    max_length: int = option(
        256,
        "Tokens that a translated sentence may have. A source sentence of more tokens is split, at clauses or spaces.",
        ge=1,
    )


class AcceptOptions(Options):
    """Thresholds of the filter. A threshold at its end lets everything pass."""

    min_query_chrf: float = option(35.0, "Round trip of the query.", ge=0, le=100)
    min_passage_chrf: float = option(45.0, "Round trip of the passage.", ge=0, le=100)
    min_length_ratio: float = option(
        0.4,
        "Least characters of the translated passage to those of the English one, relative to what is usual in the "
        "language.",
        ge=0,
    )
    max_length_ratio: float = option(2.5, "Most of them.", gt=0)
    max_repetition: Share = option(0.5, "Share of word trigrams that repeat an earlier one.")
    min_language_confidence: Share = option(
        0.2,
        "Confidence that the passage is in the target language. Passages of under 20 letters (scaled for scripts "
        "that need fewer) are not judged. 0 leaves the check out, for languages that lingua does not know.",
    )
    comet_model: FilePath | None = option(
        None,
        "Folder of a COMET model that scores the translations as well. It needs the package unbabel-comet, which is "
        "not installed with this one, and reads a pickled checkpoint. It has not been run here.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.min_length_ratio >= self.max_length_ratio:
            yield Conflict(("min_length_ratio", "max_length_ratio"), "must be below max_length_ratio")


class TranslatorSource(Options):
    """How a model of the hub is converted to CTranslate2."""

    quantization: Quantization = option(
        "int8",
        "CTranslate2's type of the stored weights. Less than float32 costs some quality; int8 takes a quarter of "
        "the size.",
    )


class TranslatorOptions(Options):
    """Size and schedule of a translator that is trained here."""

    vocab_size: int = option(6000, "SentencePiece pieces, shared by all languages.", ge=1)
    d_model: int = option(256, "Width of the M2M100 model.", ge=1)
    encoder_layers: int = option(3, "Layers of its encoder.", ge=1)
    decoder_layers: int = option(2, "Layers of its decoder.", ge=1)
    heads: int = option(4, "Heads of attention; they divide `d_model`.", ge=1)
    ffn: int = option(1024, "Width of the feed-forward layers.", ge=1)
    dropout: float = option(0.1, "Regularisation, in training.", ge=0, lt=1)
    label_smoothing: float = option(0.1, "Regularisation of the loss.", ge=0, lt=1)
    max_tokens: int = option(120, "Longest side of a training example.", ge=1)
    batch_tokens: int = option(
        1000, "Rows times longest side of a batch, padding included; at least `max_tokens`.", ge=1
    )
    learning_rate: float = option(3e-3, "Its peak.", gt=0)
    warmup_steps: int = option(1000, "Steps up to the peak.", ge=0)
    decay_steps: int = option(
        4000, "Steps of the fall to zero at the end. With `warmup_steps` at most `max_steps`.", ge=0
    )
    max_steps: int = option(20_000, "Length of the training.", ge=1)
    eval_steps: int = option(1000, "Steps between validations.", ge=1)
    save_steps: int = option(1000, "Steps between checkpoints.", ge=1)
    precision: Literal["fp32", "bf16"] = option(
        "fp32",
        "`bf16` is autocast: over twice as fast on a processor with AVX512-BF16; not measured on a card.",
    )
    seed: Seed = option(1, "Of weights and order.")

    def conflicts(self) -> Iterator[Conflict]:
        if self.batch_tokens < self.max_tokens:
            yield Conflict(("batch_tokens", "max_tokens"), f"must not be below max_tokens, which is {self.max_tokens}")
        if self.warmup_steps + self.decay_steps > self.max_steps:
            yield Conflict(
                ("warmup_steps", "decay_steps", "max_steps"),
                f"warmup_steps and decay_steps must fit into max_steps, which is {self.max_steps}",
            )
        if self.d_model % self.heads:
            yield Conflict(("heads", "d_model"), f"must divide d_model, which is {self.d_model}")


class TranslatorSection(Section):
    """One of a folder, a translator trained here, or a model of the hub."""

    path: FilePath = option(ABSENT, "A translator folder: [translation.md](translation.md#your-own-translator).")
    trained: str = option(ABSENT, "An entry of `translator_training`, trained from the source's own strings.")
    model: HubId = option(
        ABSENT,
        "A model of the hub that CTranslate2 converts. Families: OPUS-MT (Marian), M2M100, NLLB-200, mBART-50, "
        "MADLAD-400.",
    )
    revision: Revision = option(ABSENT, "Of `model`: a commit, or a branch.", otherwise="the known one, else `main`")
    quantization: Quantization = option("int8", "Of `model`: CTranslate2's type of the stored weights.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from one_of(self, "path", "trained", "model")


class TranslationSection(Section):
    """`translation` of a configuration."""

    languages: LanguageCodes = option(
        [],
        "Languages into which the pairs to be translated go. Each must be in `languages.train`, with translators for "
        "`en-<code>` and `<code>-en`.",
    )
    translators: dict[DirectionName, TranslatorSection] = option({}, "Direction, such as `en-de`, to a translator.")
    default: TranslatorSection = option(ABSENT, "The translator of directions without an entry.")
    hard_negatives: int = option(
        0, "Hard negatives of a pair that are translated (and not translated back).", ge=0, le=100
    )
    paraphrases: LanguageCode = option(
        ABSENT,
        "A code of `languages`: what came back from this language becomes a second English text of each pair; a "
        "batch takes either with equal probability.",
    )
    shards: int = option(1, "Parts that are translated as separate jobs.", ge=1, le=MOST_SHARDS)
    min_distinct: Share = option(
        0.5,
        "The job fails if fewer of its distinct inputs get distinct translations (checked from 50 texts on).",
    )
    decoding: DecodingOptions = option({}, "`DecodingOptions`, below.")
    accept: AcceptOptions = option({}, "`AcceptOptions`, below.")


class TranslatorTrainingSection(Section):
    """An entry of `translator_training`."""

    directions: Annotated[
        list[Annotated[DirectionName, AfterValidator(_english_direction)]], DISTINCT, Field(min_length=1)
    ] = option(REQUIRED, "Such as `[en-de, de-en]`. One side is English.")
    quantization: TrainedQuantization = option("int8", "Of the converted model.")
    options: TranslatorOptions = option({}, "`TranslatorOptions`, below.")


TranslatorTraining = dict[Name, TranslatorTrainingSection]
