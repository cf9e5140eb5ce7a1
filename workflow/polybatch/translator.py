"""A translator: a CTranslate2 model with its tokenizer, ready to translate plain sentences in one direction.

A translator folder holds what `ct2-transformers-converter` writes, the SentencePiece model, and
`translator.json`, which says which directions it serves, under which licence, and how well it did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.errors import ConfigError, DataError
from polybatch.files import read_json
from polybatch.languages import directions, language
from polybatch.options import Options, require

SENTENCEPIECE = "sentencepiece.bpe.model"
CARD = "translator.json"
DEVICES = ("cpu", "cuda", "auto")


@dataclass(frozen=True)
class DecodingOptions(Options):
    """How sentences are decoded.

    Attributes:
        beam_size: Beam width; 1 is greedy search.
        batch_tokens: Source tokens a batch, padding included; bounds memory.
        compute_type: CTranslate2's name ("int8", "float32", "default": as stored).
        device: "cpu", "cuda" or "auto".
        max_length: Tokens a translation may have at most.
    """

    beam_size: int = 4
    batch_tokens: int = 2048
    compute_type: str = "default"
    device: str = "cpu"
    max_length: int = 256

    def faults(self) -> Iterator[str]:
        for name in ("beam_size", "batch_tokens", "max_length"):
            yield from require(getattr(self, name) >= 1, f"{name} must be at least 1")
        yield from require(self.device in DEVICES, f"device must be one of {', '.join(DEVICES)}")


def read_card(folder: Path) -> dict[str, Any]:
    """`translator.json` of a translator folder; a DataError says what is missing."""
    missing = [name for name in (CARD, "model.bin", SENTENCEPIECE) if not (folder / name).exists()]
    if missing:
        raise DataError(
            "A translator folder is incomplete.",
            where=folder,
            expected=f"{CARD}, model.bin and {SENTENCEPIECE}",
            found=f"no {', no '.join(missing)}",
            remedy="make it with `snakemake translators`, or name another folder in translation.translators",
        )
    return read_json(folder / CARD)


class Translator:
    """Translates sentences from one language into another."""

    def __init__(self, folder: Path, direction: str, options: DecodingOptions, threads: int = 1) -> None:
        import ctranslate2
        import sentencepiece

        card = read_card(folder)
        if direction not in card["directions"]:
            raise ConfigError(
                f"The translator does not translate {direction}.",
                where=folder,
                expected=f"one of {' '.join(card['directions'])}",
                found=direction,
                remedy="name a translator for this direction in translation.translators",
            )
        self.folder, self.options, self.card = folder, options, card
        self.source_lang, self.target_lang = directions(direction)
        self._tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / SENTENCEPIECE))
        self._model = ctranslate2.Translator(
            str(folder),
            device=options.device,
            compute_type=options.compute_type,
            inter_threads=1,
            intra_threads=threads,
        )

    def translate(self, sentences: list[str]) -> list[str]:
        """Translations in the order of `sentences`; an empty sentence stays empty."""
        full = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        results = self._model.translate_batch(
            [self._source_tokens(sentences[i]) for i in full],
            target_prefix=[[_language_token(self.target_lang)]] * len(full),
            beam_size=self.options.beam_size,
            max_batch_size=self.options.batch_tokens,
            batch_type="tokens",
            max_decoding_length=self.options.max_length,
        )
        translations = [""] * len(sentences)
        for i, result in zip(full, results, strict=True):
            translations[i] = self._tokenizer.decode_pieces(result.hypotheses[0][1:]).strip()
        return translations

    def translate_texts(self, texts: list[str]) -> list[str]:
        """Translates texts of several sentences: split, each distinct sentence translated once, rejoined.

        The white space between two sentences is kept as it was, unless the target is written without.
        """
        split = [list(_sentences(text, self.source_lang)) for text in texts]
        distinct = list(dict.fromkeys(sentence for parts in split for sentence, _ in parts))
        translated = dict(zip(distinct, self.translate(distinct), strict=True))
        spaced = self.target_lang not in ("zh", "ja", "th")
        return [
            "".join(translated[sentence] + (space if spaced else "") for sentence, space in parts).strip()
            for parts in split
        ]

    def _source_tokens(self, sentence: str) -> list[str]:
        return [
            _language_token(self.source_lang),
            *self._tokenizer.encode(sentence, out_type=str),
            "</s>",
        ]


def _language_token(iso: str) -> str:
    return f"__{language(iso).m2m100}__"


def _sentences(text: str, lang: str) -> Iterator[tuple[str, str]]:
    """(sentence, white space after it), which joined give the text again."""
    import sentencex

    for part in sentencex.segment(lang, text):
        sentence = part.rstrip()
        if sentence:
            yield sentence, part[len(sentence) :]
