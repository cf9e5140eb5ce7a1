"""A retrieval benchmark on disk: queries and corpus, one file a language, and who is relevant to whom.

inputs: benchmarks/<name>/{queries,corpus}/<lang>.parquet (contracts.QUERIES, CORPUS), benchmarks/<name>/qrels.parquet
(contracts.QRELS)
outputs: a checked `Benchmark`; a benchmark with any fault raises one DataError that lists them all

What is checked: ids are unique over all languages (a pool mixes them, and a run names a passage by its id alone),
no text is empty, every row stands in its language's file, every qrels id exists, and the qrels are complete: a
passage whose group holds a relevant passage is relevant too, and so for every translation of the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch import contracts
from polybatch.errors import DataError
from polybatch.files import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED_IDS = 3


@dataclass(frozen=True)
class Texts:
    """One side of a benchmark in one language, in the order of its file.

    Attributes:
        ids, texts, groups: String arrays of equal length. An empty group belongs to no other text.
    """

    ids: pa.Array
    texts: pa.Array
    groups: pa.Array

    def __len__(self) -> int:
        return len(self.ids)

    def digest(self) -> str:
        """SHA-256 of ids and texts in their order: what an embedding file was made from."""
        digest = sha256()
        for column in (self.ids, self.texts):
            for value in column.to_pylist():
                raw = value.encode("utf-8")
                digest.update(b"%d:" % len(raw) + raw)
        return digest.hexdigest()


@dataclass(frozen=True)
class Benchmark:
    """A checked benchmark, or the part of it that stands in some of its languages.

    Attributes:
        name: The folder's name.
        queries, corpus: language -> its texts.
        qrels: Columns as in contracts.QRELS, relevance above 0, ids of the loaded languages only.
    """

    name: str
    queries: dict[str, Texts]
    corpus: dict[str, Texts]
    qrels: pa.Table

    @property
    def languages(self) -> list[str]:
        return list(self.queries)


def load(folder: Path, languages: Sequence[str]) -> Benchmark:
    """Loads some languages of a benchmark and checks them.

    Args:
        folder: benchmarks/<name>.
        languages: ISO 639-1 codes.

    Raises:
        DataError: A file is missing or cannot be read, or its content breaks a rule above. All such faults are
            in the one message, each with its first few ids.
    """
    _require_languages(folder, languages)
    faults: list[str] = []
    queries = {lang: _read_texts(folder / "queries" / f"{lang}.parquet", lang, faults) for lang in languages}
    corpus = {lang: _read_texts(folder / "corpus" / f"{lang}.parquet", lang, faults) for lang in languages}
    qrels = read_parquet(folder / "qrels.parquet", contracts.QRELS)
    faults += _id_faults(queries, "query ids")
    faults += _id_faults(corpus, "passage ids")
    faults += _qrels_faults(folder, queries, corpus, qrels)
    if not faults:
        qrels = _only(qrels, queries, corpus)
        faults += _group_faults(queries, corpus, qrels)
    if faults:
        raise DataError(
            f"A benchmark has {len(faults)} fault(s).",
            where=folder,
            found="; ".join(faults),
            remedy="correct the stage or the files that the benchmark was made from, and make it again",
        )
    return Benchmark(folder.name, queries, corpus, qrels)


def _require_languages(folder: Path, languages: Sequence[str]) -> None:
    if not languages or len(set(languages)) != len(languages):
        raise DataError(
            "The languages to load are none, or one is named twice.",
            where=folder,
            expected="at least one language, each once",
            found=" ".join(languages) or "none",
        )
    there = {side: sorted(p.stem for p in (folder / side).glob("*.parquet")) for side in ("queries", "corpus")}
    missing = [f"{side}/{lang}.parquet" for side in there for lang in languages if lang not in there[side]]
    if missing:
        raise DataError(
            f"A benchmark lacks {len(missing)} file(s): {', '.join(missing)}.",
            where=folder,
            expected=" ".join(languages),
            found="; ".join(f"{side}: {' '.join(langs) or 'no language'}" for side, langs in there.items()),
            remedy="evaluate in languages that the benchmark has, or make it with these languages",
        )


def _read_texts(path: Path, lang: str, faults: list[str]) -> Texts:
    import pyarrow.compute as pc

    schema = contracts.QUERIES if path.parent.name == "queries" else contracts.CORPUS
    table = read_parquet(path, schema).combine_chunks()
    ids, texts = table.column(0).combine_chunks(), table.column("text").combine_chunks()
    place = f"{path.parent.name}/{path.name}"
    if not table.num_rows:
        faults.append(f"{place} has no row")
    if ids.null_count:
        faults.append(f"{place}: {ids.null_count} row(s) without an id")
    empty = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), True)
    faults += _named(f"{place}: empty text", ids.filter(empty))
    elsewhere = pc.fill_null(pc.not_equal(table.column("lang").combine_chunks(), lang), True)
    faults += _named(f"{place}: lang is not {lang!r}", ids.filter(elsewhere))
    return Texts(ids, texts, pc.fill_null(table.column("group").combine_chunks(), ""))


def _named(fault: str, ids: Iterable[object]) -> Iterator[str]:
    """The fault with its count and first ids, unless there are none."""
    found = [str(i) for i in ids]
    if found:
        more = ", ..." if len(found) > _NAMED_IDS else ""
        yield f"{fault} ({len(found)}: {', '.join(found[:_NAMED_IDS])}{more})"


def _id_faults(side: dict[str, Texts], what: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = pc.value_counts(pa.chunked_array([texts.ids for texts in side.values()]))
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    yield from _named(f"{what} that stand twice", repeated)


def _qrels_faults(folder: Path, queries: dict[str, Texts], corpus: dict[str, Texts], qrels: pa.Table) -> Iterator[str]:
    import pyarrow.compute as pc

    if not qrels.num_rows:
        yield "qrels.parquet has no row"
    for column, side, loaded in (("query_id", "queries", queries), ("passage_id", "corpus", corpus)):
        unknown = pc.unique(qrels[column].filter(pc.invert(pc.is_in(qrels[column], _all_ids(folder / side, loaded)))))
        yield from _named(f"qrels.parquet: {column} not in {side}", unknown)
    if qrels["relevance"].null_count:
        yield f"qrels.parquet: {qrels['relevance'].null_count} row(s) without a relevance"
    pairs = qrels.group_by(["query_id", "passage_id"]).aggregate([([], "count_all")])
    repeated = pairs.filter(pc.greater(pairs["count_all"], 1))
    yield from _named(
        "qrels.parquet: judged twice", (f"{r['query_id']} {r['passage_id']}" for r in repeated.to_pylist())
    )


def _all_ids(folder: Path, loaded: dict[str, Texts]) -> pa.ChunkedArray:
    """The ids of every language of the benchmark: qrels may name languages that are not evaluated now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks = [texts.ids for texts in loaded.values()]
    name = "query_id" if folder.name == "queries" else "passage_id"
    for path in sorted(folder.glob("*.parquet")):
        if path.stem not in loaded:
            chunks += pq.read_table(path, columns=[name])[name].cast(pa.string()).chunks
    return pa.chunked_array(chunks, pa.string())


def _only(qrels: pa.Table, queries: dict[str, Texts], corpus: dict[str, Texts]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    keep = pc.greater(qrels["relevance"], 0)
    for column, side in (("query_id", queries), ("passage_id", corpus)):
        ids = pa.chunked_array([texts.ids for texts in side.values()])
        keep = pc.and_(keep, pc.is_in(qrels[column], ids))
    return qrels.filter(keep)


def _group_faults(queries: dict[str, Texts], corpus: dict[str, Texts], qrels: pa.Table) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    def column(side: dict[str, Texts], field: str) -> pa.ChunkedArray:
        return pa.chunked_array([getattr(texts, field) for texts in side.values()], pa.string())

    passages = pa.table({"passage_id": column(corpus, "ids"), "group": column(corpus, "groups")})
    asked = pa.table({"query_id": column(queries, "ids"), "query_group": column(queries, "groups")})
    judged = qrels.join(passages, "passage_id").join(asked, "query_id")
    judged = judged.filter(pc.not_equal(judged["group"], ""))
    sizes = passages.group_by("group").aggregate([([], "count_all")]).rename_columns(["group", "size"])
    found = judged.group_by(["query_id", "query_group", "group"]).aggregate([([], "count_all")]).join(sizes, "group")
    partial = found.filter(pc.less(found["count_all"], found["size"]))
    yield from _named(
        "queries to which only some passages of a group are relevant",
        sorted(f"{r['query_id']} -> {r['group']}" for r in partial.to_pylist()),
    )
    yield from _named("groups whose queries differ in what is relevant", _uneven_groups(asked, found))


def _uneven_groups(asked: pa.Table, found: pa.Table) -> list[str]:
    """Groups of parallel queries, of which a passage group is relevant to some but not to all."""
    import pyarrow.compute as pc

    asked = asked.filter(pc.not_equal(asked["query_group"], ""))
    sizes = asked.group_by("query_group").aggregate([([], "count_all")]).rename_columns(["query_group", "queries"])
    pairs = found.group_by(["query_group", "group"]).aggregate([([], "count_all")]).join(sizes, "query_group")
    uneven = pairs.filter(pc.less(pairs["count_all"], pairs["queries"]))
    return sorted(set(uneven["query_group"].to_pylist()))
