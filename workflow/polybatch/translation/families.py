"""What differs between families of translation models: their tokenizer files, language codes and vocabulary.

A sentence becomes the tokens that the model was trained on, and tokens become a sentence, with the SentencePiece
models that every one of these families ships and nothing else: no transformers, and no second conversion of a
tokenizer that could differ from the first. What a text holds is text: `<s>` in a web page does not become a token.

| family | models | source | target starts with |
|---|---|---|---|
| marian | OPUS-MT | (`>>deu<<`) pieces `</s>` | |
| m2m100 | M2M100, this pipeline's own | `__en__` pieces `</s>` | `__de__` |
| nllb | NLLB-200 | `eng_Latn` pieces `</s>` | `deu_Latn` |
| mbart | mBART-50 | `en_XX` pieces `</s>` | `de_DE` |
| t5 | MADLAD-400 | `<2de>` and the text as pieces, `</s>` | |

Sources: the tokenizers of transformers 5.23 (`marian`, `m2m_100`, `nllb`, `mbart50`) and the model card of
`google/madlad400-3b-mt`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.core.languages import Language, language

FAMILIES = ("marian", "m2m100", "nllb", "mbart", "t5")
FILES: dict[str, tuple[str, ...]] = {
    "marian": ("source.spm", "target.spm", "vocab.json"),
    "m2m100": ("sentencepiece.bpe.model",),
    "nllb": ("sentencepiece.bpe.model",),
    "mbart": ("sentencepiece.bpe.model",),
    "t5": ("spiece.model",),
}
_SPECIAL = frozenset(("<s>", "</s>", "<pad>", "<unk>", "<mask>"))


def family_fault(card: dict[str, Any]) -> str:
    """What is wrong with the family that a translator's card names; "" if nothing is. Without one it is M2M100's."""
    family = card.get("family", "m2m100")
    return "" if family in FAMILIES else f"the family {family!r} is none of {', '.join(FAMILIES)}"


def code(family: str, entry: Language) -> str:
    """A family's own code of a language; empty if it does not offer the language, or has none (marian)."""
    return {"m2m100": entry.m2m100, "nllb": entry.nllb, "mbart": entry.mbart, "t5": entry.madlad}.get(family, "")


def language_token(family: str, iso: str) -> str:
    """The token that names a language to the model: `"__de__"`, `"deu_Latn"`, `"de_DE"`, `"<2de>"`."""
    own = code(family, language(iso))
    return {"m2m100": f"__{own}__", "t5": f"<2{own}>"}.get(family, own)


class Tokenizer(ABC):
    """Sentences to tokens and back, in one direction.

    Attributes:
        prefix: What every translation starts with; not part of the text.
    """

    prefix: list[str]

    @abstractmethod
    def tokens(self, sentence: str) -> list[str]:
        """All source tokens of a sentence, the special ones included."""

    @abstractmethod
    def text(self, tokens: Sequence[str]) -> str:
        """The text of a translation's tokens, `prefix` left out by the caller."""


class _Prefixed(Tokenizer):
    """M2M100, NLLB, mBART-50: one SentencePiece model; the language's token stands before the pieces."""

    def __init__(self, family: str, folder: Path, source: str, target: str) -> None:
        self._pieces = _processor(folder / FILES[family][0])
        self._source = language_token(family, source)
        self.prefix = [language_token(family, target)]

    def tokens(self, sentence: str) -> list[str]:
        return [self._source, *self._pieces.encode(sentence, out_type=str), "</s>"]

    def text(self, tokens: Sequence[str]) -> str:
        known = [t for t in tokens if t not in _SPECIAL and self._pieces.piece_to_id(t) != self._pieces.unk_id()]
        return self._pieces.decode_pieces(known).strip()


class _Madlad(Tokenizer):
    """T5 with the target language as the text's first word."""

    def __init__(self, folder: Path, target: str) -> None:
        self._pieces = _processor(folder / FILES["t5"][0])
        self._target = language_token("t5", target)
        self.prefix = []

    def tokens(self, sentence: str) -> list[str]:
        return [*self._pieces.encode(f"{self._target} {sentence}", out_type=str), "</s>"]

    def text(self, tokens: Sequence[str]) -> str:
        known = [t for t in tokens if t not in _SPECIAL and self._pieces.piece_to_id(t) != self._pieces.unk_id()]
        return self._pieces.decode_pieces(known).strip()


class _Marian(Tokenizer):
    """A SentencePiece model for each side; a model of several target languages is told which by a first token."""

    def __init__(self, folder: Path, token: str) -> None:
        source, target, _ = FILES["marian"]
        self._source, self._target = _processor(folder / source), _processor(folder / target)
        self._first = [token] if token else []
        self.prefix = []

    def tokens(self, sentence: str) -> list[str]:
        return [*self._first, *self._source.encode(sentence, out_type=str), "</s>"]

    def text(self, tokens: Sequence[str]) -> str:
        known = [t for t in tokens if t not in _SPECIAL]
        return self._target.decode_pieces(known).replace("\u2581", " ").strip()


def tokenizer(folder: Path, card: dict[str, Any], source: str, target: str) -> Tokenizer:
    """The tokenizer of a translator folder for one direction. Folders without a family are M2M100's."""
    family = card.get("family", "m2m100")
    if family == "marian":
        return _Marian(folder, card["tokens"][f"{source}-{target}"])
    return _Madlad(folder, target) if family == "t5" else _Prefixed(family, folder, source, target)


def _processor(path: Path) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def pieces(path: Path) -> list[str]:
    """All pieces of a SentencePiece model in the order of their ids."""
    processor = _processor(path)
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
