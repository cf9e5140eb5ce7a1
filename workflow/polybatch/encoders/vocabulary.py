"""Cuts an encoder's vocabulary to the pieces that a study's text uses: the tokenizer, and the rows of word embeddings.

inputs: a sentence-transformers model with a Unigram tokenizer (XLM-R's, e5's); training, validation and benchmark text
outputs: the same model with fewer pieces, and a table of what was kept, by language

Kept are the pieces into which the whole tokenizer cuts the study's text, prompts and benchmarks included; all single
characters, so that any other text is still cut into known pieces, if into more of them; the special tokens; and a piece
of the lowest score, from which the score of an unknown character is reckoned. A Unigram tokenizer takes the most likely
cut of a text (Kudo 2018, arXiv 1804.10959): without pieces that no most likely cut uses, it stays the most likely one.
So texts of which all pieces are kept are cut as before and embedded as before, bit by bit, and the study's scores are
those of the whole vocabulary. That is checked for every text of the study, after the cut.

What text outside the study loses is told by its benchmarks, as if these had not been looked at: the share of their
tokens, and of their texts, with pieces that neither training text nor single characters hold (Abdaoui et al. 2020,
arXiv 2010.05609, cut vocabularies for the same reason).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from polybatch.core import contracts, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import write_text
from polybatch.core.streams import batches

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from sentence_transformers import SentenceTransformer

TABLE = "vocabulary.tsv"
TRAINING, VALIDATION, BENCHMARKS = "training", "validation", "benchmarks"
_COLUMNS = ("role", "lang", "texts", "tokens", "pieces", "texts_with_other_pieces", "share_of_tokens_with_other_pieces")
_SPACE = "▁"
_SPECIAL = ("pad_token_id", "unk_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


class StudyText(NamedTuple):
    """A file of the study's text.

    Attributes:
        role: TRAINING, VALIDATION or BENCHMARKS.
        lang: ISO 639-1.
        path: A Parquet file.
        schema: Its contract.
        prompts: Column -> the name of the prompt that is put before its texts.
    """

    role: str
    lang: str
    path: Path
    schema: pa.Schema
    prompts: Mapping[str, str]

    def texts(self, prompts: Mapping[str, str | None]) -> Iterator[list[str]]:
        """A batch of texts at a time, as the model gets them; `prompts` are the model's."""
        for table in batches(self.path, self.schema, list(self.prompts)):
            for column, name in self.prompts.items():
                values = table[column].combine_chunks()
                values = values.flatten() if column == "hard_negatives" else values
                yield [f"{prompts.get(name) or ''}{text}" for text in values.to_pylist()]


def study_texts(places: Mapping[str, Any]) -> list[StudyText]:
    """The files that `StudyPaths.vocabulary_text` names: training text by language, validation, benchmarks."""
    pairs = {"query": "query", "passage": "passage", "hard_negatives": "passage"}
    found = [StudyText(TRAINING, lang, Path(p), contracts.PARALLEL, pairs) for lang, p in places[TRAINING].items()]
    found += [StudyText(TRAINING, "en", Path(path), contracts.PARALLEL, pairs) for path in places["paraphrases"]]
    found.append(StudyText(VALIDATION, "en", Path(places[VALIDATION]), contracts.PARALLEL, pairs))
    for entry in places[BENCHMARKS]:
        sides = {"queries": ("query_languages", contracts.QUERIES), "corpus": ("corpus_languages", contracts.CORPUS)}
        for side, (languages, schema) in sides.items():
            prompt = {"text": "query" if side == "queries" else "passage"}
            for lang in entry[languages]:
                path = Path(entry["benchmark"]) / side / f"{lang}.parquet"
                found.append(StudyText(BENCHMARKS, lang, path, schema, prompt))
    return found


def texts_of_json(value: str | None) -> list[StudyText]:
    """The same, of an argument; no file where there is none."""
    return study_texts(json.loads(value)) if value else []


@dataclass
class _Tally:
    """Counts over the text of one role and language. `used` is (pieces,) bool."""

    used: np.ndarray
    texts: int = 0
    tokens: int = 0
    other_texts: int = 0
    other_tokens: int = 0

    def add(self, ids: Sequence[Sequence[int]], known: np.ndarray | None) -> None:
        """Counts a batch of texts; `known` are the pieces that are kept whatever benchmarks hold."""
        import numpy as np

        flat = np.fromiter((piece for of_text in ids for piece in of_text), np.int64)
        self.used[flat] = True
        self.texts += len(ids)
        self.tokens += len(flat)
        if known is not None:
            owner = np.repeat(np.arange(len(ids)), [len(of_text) for of_text in ids])
            other = ~known[flat]
            self.other_tokens += int(other.sum())
            self.other_texts += len(np.unique(owner[other]))

    def row(self, role: str, lang: str) -> dict[str, Any]:
        share = self.other_tokens / self.tokens if self.tokens else 0.0
        values = (role, lang, self.texts, self.tokens, int(self.used.sum()), self.other_texts, f"{share:.4f}")
        return dict(zip(_COLUMNS, values, strict=True))


@dataclass(frozen=True)
class Cut:
    """A vocabulary that was cut.

    Attributes:
        new_ids: (old pieces,) int64: old id -> new id, -1 where the piece is gone.
        rows: A row a role and language, `_COLUMNS`.
        whole: The tokenizer as it was, of the tokenizers library, without truncation.
    """

    new_ids: np.ndarray
    rows: list[dict[str, Any]]
    whole: Any

    def record(self) -> dict[str, Any]:
        """What encoder.json says of it."""
        return {"cut_to": "study", "pieces": int((self.new_ids >= 0).sum()), "of": len(self.new_ids)}


def cut(model: SentenceTransformer, texts: Sequence[StudyText], where: Path | str) -> Cut:
    """Cuts the vocabulary of a model, in place.

    Args:
        model: With its prompts; changed in place.
        texts: All text of the study.
        where: What errors call the model.

    Raises:
        ConfigError: There is no text; the tokenizer is no Unigram one, or its special tokens do not come first.
        DataError: A file of the text cannot be read.
    """
    import numpy as np

    if not texts:
        raise ConfigError(
            "A vocabulary is to be cut to the study's text, and none was given.",
            where=where,
            expected="--vocabulary-text",
            found="no text",
        )
    content = _unigram(model, where)
    whole = _untruncated(model.tokenizer.backend_tokenizer)
    size = whole.get_vocab_size(with_added_tokens=True)
    known = _always_kept(content, size)
    tallies: dict[tuple[str, str], _Tally] = {}
    for benchmarks in (False, True):  # what training text does not hold of them is known once that was read
        for text in (text for text in texts if (text.role == BENCHMARKS) is benchmarks):
            tally = tallies.setdefault((text.role, text.lang), _Tally(np.zeros(size, bool)))
            for some in text.texts(model.prompts):
                tally.add(_ids(whole, some), known if benchmarks else None)
        if not benchmarks:
            known = np.logical_or.reduce([known, *(tally.used for tally in tallies.values())])
    kept = np.logical_or.reduce([known, *(tally.used for tally in tallies.values())])
    new_ids = np.where(kept, np.cumsum(kept) - 1, -1)
    _require_special_ids(model, new_ids, where)
    _set_tokenizer(model, _cut_tokenizer(content, new_ids))
    _cut_embeddings(model, np.flatnonzero(kept))
    made = Cut(new_ids, [tally.row(*key) for key, tally in tallies.items()], whole)
    _tell(made)
    return made


def require_same_tokens(model: SentenceTransformer, made: Cut, texts: Sequence[StudyText], where: Path | str) -> None:
    """Raises a DataError unless a model with a cut vocabulary cuts every text of the study as before."""
    after = _untruncated(model.tokenizer.backend_tokenizer)
    for text in texts:
        for some in text.texts(model.prompts):
            for one, old, new in zip(some, _ids(made.whole, some), _ids(after, some), strict=True):
                if made.new_ids[old].tolist() != list(new):
                    raise DataError(
                        "The tokenizer with the cut vocabulary cuts a text otherwise than the whole one.",
                        where=f"{where}; {text.path}",
                        expected=" ".join(map(str, map(made.whole.id_to_token, old[:12]))),
                        found=" ".join(map(str, map(after.id_to_token, new[:12]))) + f" in {one[:60]!r}",
                        remedy="this is a defect of Polybatch: please report it with the encoder's name; "
                        "`vocabulary: whole` leaves the encoder as it is",
                    )


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes what was kept and what other text would lose, tabs between columns."""
    lines = ["\t".join(_COLUMNS), *("\t".join(str(row[name]) for name in _COLUMNS) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def _tell(made: Cut) -> None:
    """Logs what was kept, and each language of which benchmarks hold pieces that training text does not."""
    record = made.record()
    stage.log.info("vocabulary: %d of %d pieces kept", record["pieces"], record["of"])
    for row in made.rows:
        if row["role"] == BENCHMARKS and row["texts_with_other_pieces"]:
            told = (row["lang"], row["texts_with_other_pieces"], row["texts"])
            stage.log.info("%s: %d of %d benchmark texts have pieces that training text does not", *told)


def _unigram(model: SentenceTransformer, where: Path | str) -> dict[str, Any]:
    """The content of the model's tokenizer, as tokenizer.json holds it."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    content: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    kind = content.get("model", {}).get("type", type(model.tokenizer).__name__)
    if kind != "Unigram":
        raise ConfigError(
            "This encoder's vocabulary cannot be cut.",
            where=where,
            expected="a Unigram tokenizer, as XLM-R, multilingual-e5 and bge-m3 have one",
            found=f"a {kind} tokenizer",
            remedy="leave out the encoder's option vocabulary",
        )
    return content


def _untruncated(backend: Any) -> Any:
    copied = copy.deepcopy(backend)
    copied.no_truncation()
    copied.no_padding()
    return copied


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _always_kept(content: Mapping[str, Any], size: int) -> np.ndarray:
    """(pieces,) bool: special tokens, single characters, bytes, and one piece of the lowest score."""
    import numpy as np

    vocabulary, byte_fallback = content["model"]["vocab"], content["model"].get("byte_fallback")
    found = np.zeros(size, bool)
    found[[token["id"] for token in content["added_tokens"]]] = True
    found[content["model"]["unk_id"]] = True
    found[min(range(len(vocabulary)), key=lambda i: vocabulary[i][1])] = True
    for i, (piece, _) in enumerate(vocabulary):
        if len(piece) == 1 or (byte_fallback and piece.startswith("<0x")):
            found[i] = True
    return found


def _require_special_ids(model: SentenceTransformer, new_ids: np.ndarray, where: Path | str) -> None:
    """Configurations name special tokens by their ids, and RoBERTa numbers positions from that of padding."""
    moved = []
    for name in _SPECIAL:
        old = getattr(model.tokenizer, name, None)
        if old is not None and new_ids[old] != old:
            moved.append(f"{name} {old}")
    if moved:
        raise ConfigError(
            "This encoder's vocabulary cannot be cut: its special tokens do not come first.",
            where=where,
            expected="special tokens with the lowest ids, which then stay",
            found=", ".join(moved),
            remedy="leave out the encoder's option vocabulary",
        )


def _cut_tokenizer(content: dict[str, Any], new_ids: np.ndarray) -> Any:
    """The tokenizer with the pieces that have a new id."""
    from tokenizers import Tokenizer

    model = content["model"]
    model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if new_ids[i] >= 0]
    model["unk_id"] = int(new_ids[model["unk_id"]])
    for token in content["added_tokens"]:
        token["id"] = int(new_ids[token["id"]])
    for token in ((content.get("post_processor") or {}).get("special_tokens") or {}).values():
        token["ids"] = [int(new_ids[i]) for i in token["ids"]]
    return Tokenizer.from_str(json.dumps(content))


def _set_tokenizer(model: SentenceTransformer, backend: Any) -> None:
    """An ordinary fast tokenizer with the names and lengths that the model's own has."""
    from transformers import PreTrainedTokenizerFast

    own, transformer = model.tokenizer, cast(Any, model[0])
    transformer.processor = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=own.model_max_length,
        model_input_names=own.model_input_names,
        padding_side=own.padding_side,
        **{name: str(token) for name, token in own.special_tokens_map.items() if isinstance(token, str)},
    )


def _cut_embeddings(model: SentenceTransformer, old_ids: np.ndarray) -> None:
    import torch

    backbone: Any = model.transformers_model
    embeddings = backbone.get_input_embeddings()
    weight = embeddings.weight.detach()[torch.from_numpy(old_ids)].clone()
    padding = embeddings.padding_idx
    backbone.set_input_embeddings(torch.nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=padding))
    backbone.config.vocab_size = len(old_ids)
