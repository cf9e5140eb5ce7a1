"""What the fuzzing of the readers is made of: files that are right, what damages them, and what must hold of both.

Used by test_fuzz_readers.py, for seconds, and by tests/campaigns/fuzz_readers.py, for as long as one likes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from polybatch.benchmarks.beir import _lines, read_qrels
from polybatch.benchmarks.squad import read_language
from polybatch.collect.adapters.local import LocalSource
from polybatch.core.errors import PolybatchError
from polybatch.core.row_files import file_rows
from polybatch.core.text import clean_text, is_blank
from polybatch.core.values import Fault

FORMS = ("jsonl", "csv", "tsv", "parquet", "squad")
ENDS = ("\n", "\r\n", "\r")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
rows = st.lists(st.fixed_dictionaries({"query": texts, "passage": texts}), min_size=1, max_size=6)
# What stands at the edges of formats: quotes, delimiters, ends of lines, marks of order, numbers that are none, depth.
PIECES = (
    *(
        b'"',
        b",",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x00",
        b"\\",
        b"NaN",
        b"null",
        b"{",
        b"[",
    ),
    *(b'"query"', b"\\ud800", b"\xe2\x80\x8b", b"1e999", b"true", b"[" * 200, b'{"a":' * 150, b"9" * 5000, b" "),
)
damages = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "replace", "cut"]), st.floats(0, 1), st.sampled_from(PIECES)),
    min_size=0,
    max_size=3,
)


def written(pairs: list[dict[str, str]], form: str, end: str) -> bytes:
    """A file of a format that holds the pairs and nothing that its format does not allow."""
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=len(row["query"]) % 2 == 0) + end for row in pairs).encode()
    if form in ("csv", "tsv"):
        out = io.StringIO(newline="")
        # Left to itself, Python's writer quotes no end of line that is not its own.
        breaks = any(mark in text for row in pairs for text in row.values() for mark in "\r\n")
        quoting = csv.QUOTE_ALL if breaks or len(pairs) % 2 else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter="," if form == "csv" else "\t", lineterminator=end, quoting=quoting)
        writer.writerows([["query", "passage"], *([row["query"], row["passage"]] for row in pairs)])
        return out.getvalue().encode()
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(pairs), sink)
        return sink.getvalue()
    paragraphs = [
        {
            "context": row["passage"],
            "qas": [{"id": number, "question": row["query"], "answers": [{"text": row["passage"], "answer_start": 0}]}],
        }
        for number, row in enumerate(pairs)
    ]
    return json.dumps({"data": [{"paragraphs": paragraphs}]}).encode()


def damaged(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, piece in changes:
        at = int(place * len(raw))
        if kind == "insert":
            raw = raw[:at] + piece + raw[at:]
        elif kind == "delete":
            raw = raw[:at] + raw[at + 1 + len(piece) % 3 :]
        elif kind == "replace":
            raw = raw[:at] + piece + raw[at + len(piece) :]
        else:
            raw = raw[:at]
    return raw


def require_unchanged(folder: Path, pairs: list[dict[str, str]], form: str, end: str, zipped: bool) -> None:
    """A right file gives the very texts that were written, or says that a tab-separated field goes over lines."""
    path = folder / f"file.{'json' if form == 'squad' else form}"
    raw = written(pairs, form, end)
    if zipped and form != "parquet":
        path, raw = path.with_name(f"{path.name}.gz"), gzip.compress(raw)
    path.write_bytes(raw)
    found = [row for _, row in file_rows(path, form, ["query", "passage"])]
    if form == "tsv" and any(isinstance(row, Fault) for row in found):
        assert any(mark in row[side] for row in pairs for side in row for mark in "\r\n"), found
        return
    assert [{side: row[side] for side in ("query", "passage")} for row in found] == pairs
    if any(is_blank(text) for row in pairs for text in row.values()):
        return
    source = LocalSource({"name": "fuzz", "format": form}, path)
    assert [(pair.query, pair.passage) for pair in source.english()] == [
        (clean_text(row["query"]), clean_text(row["passage"])) for row in pairs
    ]


def require_told(folder: Path, raw: bytes, form: str, counts: Counter[str]) -> None:
    """A damaged file is read, or refused in words; what is read of it is all that it holds."""
    path = folder / f"file.{form}"
    path.write_bytes(raw)
    try:
        LocalSource({"name": "fuzz", "format": form}, path)
    except PolybatchError as error:
        assert str(path) in str(error)
        str(error).encode("utf-8")  # a message that cannot be printed is none
        counts[f"{form}: refused"] += 1
        return
    counts[f"{form}: read"] += 1
    found = [row for _, row in file_rows(path, form, ["query", "passage"])]
    if form in ("csv", "tsv"):
        _require_all_text(raw, found, '",\t\r\n')
    if form == "jsonl":
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert len(found) == sum(bool(line.strip()) for line in lines)


def _require_all_text(raw: bytes, found: list[Any], marks: str) -> None:
    """But for quotes, delimiters and ends of lines, the fields hold what the file does, in its order."""
    gone = str.maketrans("", "", marks)
    header = "".join(found[0]) if found else ""
    fields = header + "".join("".join(row.values()) for row in found)
    assert fields.translate(gone) == raw.decode("utf-8-sig").translate(gone)


def require_benchmark_told(folder: Path, raw: bytes, name: str, counts: Counter[str]) -> None:
    """The same of a benchmark's files: corpus.jsonl, qrels.tsv, a question answering file."""
    path = folder / name
    path.write_bytes(raw)
    try:
        if name == "corpus.jsonl":
            list(_lines(folder, "corpus"))
        elif name == "qrels.tsv":
            read_qrels(path)
        else:
            read_language(path, "en", "split")
    except PolybatchError as error:
        str(error).encode("utf-8")
        counts[f"{name}: refused"] += 1
    else:
        counts[f"{name}: read"] += 1


def benchmark_file(pairs: list[dict[str, str]], name: str) -> bytes:
    if name == "corpus.jsonl":
        rows = [{"_id": number, "title": None, "text": row["passage"]} for number, row in enumerate(pairs)]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if name == "qrels.tsv":
        return b"query-id\tcorpus-id\tscore\n" + b"".join(b"q%d\tp%d\t1\n" % (n, n) for n in range(len(pairs)))
    return written(pairs, "squad", "\n")


BENCHMARK_FILES = ("corpus.jsonl", "qrels.tsv", "en.json")
