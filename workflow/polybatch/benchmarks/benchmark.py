"""A retrieval benchmark on disk: queries and corpus, one file a language, and which passages answer which queries.

inputs: benchmarks/<name>/{queries,corpus}/<lang>.parquet (contracts.QUERIES, CORPUS), benchmarks/<name>/qrels.parquet
(contracts.QRELS); where there are such: excluded.parquet (EXCLUDED), absent.parquet (ABSENT), card.json
outputs: a checked `Benchmark`; a benchmark with any fault raises one DataError that lists them all

What is checked: ids are unique over all languages (a pool mixes them, and a run names a passage by its id alone),
no query is empty, no passage is but those that the card counts, every row stands in its language's file, every qrels
id exists, and the qrels are complete. Complete means: a passage whose group holds a relevant passage is relevant too,
and queries of one group have the same relevant passages. An empty group joins nothing. Where translations were cut
into passages independently (LAReQA's sentences), no passage is the translation of another: their groups are empty,
and it is the queries' groups that tell that a judgement is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, read_parquet
from polybatch.core.streams import batches
from polybatch.core.unicode_sets import INVISIBLE_RANGES, ranges

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED_IDS = 3
_ROWS_AT_A_TIME = 10_000


def excluded_schema() -> pa.Schema:
    """excluded.parquet: passages that are taken out of a query's rankings, such as the query itself in ArguAna."""
    return contracts.QRELS.remove(contracts.QRELS.get_field_index("relevance"))


def absent_schema() -> pa.Schema:
    """absent.parquet: relevant passages that no corpus holds, and the language of the corpus that lacks them.

    Some published data sets have a few. As in trec_eval and mteb, they count as relevant and are never found.
    """
    import pyarrow as pa

    return pa.schema([("passage_id", pa.string()), ("lang", pa.string())])


@dataclass(frozen=True)
class Texts:
    """One side of a benchmark in one language, in the order of its file. The texts stay in the file until asked for.

    Attributes:
        path: The file.
        ids, groups: String arrays of equal length. An empty group belongs to no other text.
        answers: Of queries: a list array of gold answers, empty lists where there are none. None for a corpus.
    """

    path: Path
    ids: pa.Array
    groups: pa.Array
    answers: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def texts(self) -> pa.Array:
        """Large string array: a corpus may exceed the 2 GiB that a string array can hold."""
        import pyarrow as pa

        chunks = [batch.column(0).cast(pa.large_string()) for batch in self._batches("text")]
        return pa.chunked_array(
            [chunk for column in chunks for chunk in column.chunks], pa.large_string()
        ).combine_chunks()

    def digest(self) -> str:
        """SHA-256 of ids and texts in their order: what an embedding file was made from."""
        digest = sha256()
        for column in (_schema_of(self.path).names[0], "text"):
            for batch in self._batches(column):
                for value in batch.column(0).to_pylist():
                    raw = value.encode("utf-8")
                    digest.update(b"%d:" % len(raw) + raw)
        return digest.hexdigest()

    def _batches(self, column: str) -> Iterator[pa.Table]:
        return batches(self.path, _schema_of(self.path), [column], _ROWS_AT_A_TIME)


def _schema_of(path: Path) -> pa.Schema:
    return contracts.QUERIES if path.parent.name == "queries" else contracts.CORPUS


@dataclass(frozen=True)
class Benchmark:
    """A checked benchmark, or the part of it that stands in some of its languages.

    Attributes:
        name: The folder's name.
        queries, corpus: language -> its texts. The languages of the two may differ.
        qrels: Columns as in contracts.QRELS, relevance above 0, ids of the loaded languages only, absent passages
            among them.
        excluded: Columns query_id and passage_id, ids of the loaded languages only.
        absent: language -> ids of relevant passages that its corpus lacks.
    """

    name: str
    queries: dict[str, Texts]
    corpus: dict[str, Texts]
    qrels: pa.Table
    excluded: pa.Table
    absent: dict[str, pa.Array]

    @property
    def languages(self) -> list[str]:
        """The languages of queries and corpus, each once."""
        return list(dict.fromkeys([*self.queries, *self.corpus]))


def load(folder: Path, query_languages: Sequence[str], corpus_languages: Sequence[str] | None = None) -> Benchmark:
    """Loads some languages of a benchmark and checks them.

    Args:
        folder: benchmarks/<name>.
        query_languages: ISO 639-1 codes.
        corpus_languages: The same for the corpus; None for those of the queries.

    Raises:
        DataError: A file is missing or cannot be read, or its content breaks a rule above. All such faults are
            in the one message, each with its first few ids.
    """
    corpus_languages = query_languages if corpus_languages is None else corpus_languages
    _require_languages(folder, query_languages, corpus_languages)
    faults: list[str] = []
    empty = _declared_empty(folder)
    queries = {lang: _read_texts(folder / "queries" / f"{lang}.parquet", lang, 0, faults) for lang in query_languages}
    corpus = {
        lang: _read_texts(folder / "corpus" / f"{lang}.parquet", lang, empty.get(lang, 0), faults)
        for lang in corpus_languages
    }
    absent = _read_optional(folder / "absent.parquet", absent_schema())
    qrels = read_parquet(folder / "qrels.parquet", contracts.QRELS)
    excluded = _read_optional(folder / "excluded.parquet", excluded_schema())
    faults += _id_faults(queries, "query ids")
    faults += _id_faults(corpus, "passage ids")
    faults += _qrels_faults(folder, queries, corpus, absent, qrels)
    missing = _absent_of(absent, corpus_languages)
    if not faults:
        qrels = _only(qrels, queries, corpus, missing)
        faults += _group_faults(queries, corpus, qrels)
    if faults:
        raise DataError(
            f"A benchmark has {len(faults)} fault(s).",
            where=folder,
            found="; ".join(faults),
            remedy="correct the stage or the files that the benchmark was made from, and make it again",
        )
    return Benchmark(folder.name, queries, corpus, qrels, _of_loaded(excluded, queries, corpus), missing)


def _declared_empty(folder: Path) -> dict[str, int]:
    """language -> how many passages were empty in the data set itself, if the benchmark has a card that says so."""
    card = folder / "card.json"
    counts: dict[str, int] = read_json(card).get("empty_passages", {}) if card.is_file() else {}
    return counts


def _read_optional(path: Path, schema: pa.Schema) -> pa.Table:
    return read_parquet(path, schema) if path.is_file() else schema.empty_table()


def _absent_of(absent: pa.Table, languages: Sequence[str]) -> dict[str, pa.Array]:
    import pyarrow.compute as pc

    found = {lang: absent.filter(pc.equal(absent["lang"], lang))["passage_id"].combine_chunks() for lang in languages}
    return {lang: ids for lang, ids in found.items() if len(ids)}


def _require_languages(folder: Path, query_languages: Sequence[str], corpus_languages: Sequence[str]) -> None:
    wanted = {"queries": query_languages, "corpus": corpus_languages}
    for side, languages in wanted.items():
        if not languages or len(set(languages)) != len(languages):
            raise DataError(
                "The languages to load are none, or one is named twice.",
                where=folder / side,
                expected="at least one language, each once",
                found=" ".join(languages) or "none",
            )
    there = {side: sorted(p.stem for p in (folder / side).glob("*.parquet")) for side in wanted}
    missing = [f"{side}/{lang}.parquet" for side in wanted for lang in wanted[side] if lang not in there[side]]
    if missing:
        raise DataError(
            f"A benchmark lacks {len(missing)} file(s): {', '.join(missing)}.",
            where=folder,
            expected="; ".join(f"{side}: {' '.join(languages)}" for side, languages in wanted.items()),
            found="; ".join(f"{side}: {' '.join(langs) or 'no language'}" for side, langs in there.items()),
            remedy="evaluate in languages that the benchmark has, or make it with these languages",
        )


def _read_texts(path: Path, lang: str, may_be_empty: int, faults: list[str]) -> Texts:
    """Reads all but the texts, which are looked at and let go."""
    import pyarrow as pa
    import pyarrow.compute as pc

    schema, place = _schema_of(path), f"{path.parent.name}/{path.name}"
    ids: list[pa.Array] = []
    groups: list[pa.Array] = []
    answers: list[pa.Array] = []
    empty: list[pa.Array] = []
    elsewhere: list[pa.Array] = []
    for batch in batches(path, schema, rows=_ROWS_AT_A_TIME):
        ids += batch.column(0).chunks
        groups += pc.fill_null(batch["group"], "").chunks
        answers += batch["answers"].chunks if "answers" in schema.names else []
        empty += batch.column(0).filter(is_empty(batch["text"])).chunks
        elsewhere += batch.column(0).filter(pc.fill_null(pc.not_equal(batch["lang"], lang), True)).chunks
    all_ids = pa.chunked_array(ids, pa.string()).combine_chunks()
    if not len(all_ids):
        faults.append(f"{place} has no row")
    if all_ids.null_count:
        faults.append(f"{place}: {all_ids.null_count} row(s) without an id")
    if sum(map(len, empty)) != may_be_empty:
        faults += _named(f"{place}: empty text", pa.chunked_array(empty, pa.string()))
    faults += _named(f"{place}: lang is not {lang!r}", pa.chunked_array(elsewhere, pa.string()))
    all_answers = (
        pa.chunked_array(answers, pa.list_(pa.string())).combine_chunks() if "answers" in schema.names else None
    )
    return Texts(path, all_ids, pa.chunked_array(groups, pa.string()).combine_chunks(), all_answers)


def is_empty(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which texts are null, or of which nothing can be seen (as `text.is_blank`)."""
    import pyarrow.compute as pc

    invisible = "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in ranges(INVISIBLE_RANGES))
    return pc.fill_null(pc.match_substring_regex(texts, rf"^[\s\x0B\x{{85}}\pZ{invisible}]*$"), True)


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


def _qrels_faults(
    folder: Path, queries: dict[str, Texts], corpus: dict[str, Texts], absent: pa.Table, qrels: pa.Table
) -> Iterator[str]:
    import pyarrow.compute as pc

    if not qrels.num_rows:
        yield "qrels.parquet has no row"
    yield from _named(
        "absent.parquet: the corpus holds", pc.unique(absent["passage_id"].filter(_is_in(absent, "passage_id", corpus)))
    )
    known = {
        "queries": _all_ids(folder / "queries", queries, []),
        "corpus": _all_ids(folder / "corpus", corpus, absent["passage_id"].chunks),
    }
    for column, side in (("query_id", "queries"), ("passage_id", "corpus")):
        unknown = pc.unique(qrels[column].filter(pc.invert(pc.is_in(qrels[column], known[side]))))
        yield from _named(f"qrels.parquet: {column} not in {side}", unknown)
    if qrels["relevance"].null_count:
        yield f"qrels.parquet: {qrels['relevance'].null_count} row(s) without a relevance"
    pairs = qrels.group_by(["query_id", "passage_id"]).aggregate([([], "count_all")])
    repeated = pairs.filter(pc.greater(pairs["count_all"], 1))
    yield from _named(
        "qrels.parquet: judged twice", (f"{r['query_id']} {r['passage_id']}" for r in repeated.to_pylist())
    )


def _all_ids(folder: Path, loaded: dict[str, Texts], others: list[pa.Array]) -> pa.ChunkedArray:
    """The ids of every language of the benchmark: qrels may name languages that are not evaluated now."""
    import pyarrow as pa

    chunks = [*(texts.ids for texts in loaded.values()), *others]
    name = "query_id" if folder.name == "queries" else "passage_id"
    for path in sorted(folder.glob("*.parquet")):
        if path.stem not in loaded:
            chunks += read_parquet(path, pa.schema([(name, pa.string())]))[name].chunks
    return pa.chunked_array(chunks, pa.string())


def _is_in(table: pa.Table, column: str, side: dict[str, Texts], others: Iterable[pa.Array] = ()) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.chunked_array([*(texts.ids for texts in side.values()), *others], pa.string())
    return pc.is_in(table[column], ids)


def _of_loaded(table: pa.Table, queries: dict[str, Texts], corpus: dict[str, Texts]) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.and_(_is_in(table, "query_id", queries), _is_in(table, "passage_id", corpus)))


def _only(
    qrels: pa.Table, queries: dict[str, Texts], corpus: dict[str, Texts], absent: dict[str, pa.Array]
) -> pa.Table:
    import pyarrow.compute as pc

    loaded = pc.and_(_is_in(qrels, "query_id", queries), _is_in(qrels, "passage_id", corpus, absent.values()))
    return qrels.filter(pc.and_(pc.greater(qrels["relevance"], 0), loaded))


def _group_faults(queries: dict[str, Texts], corpus: dict[str, Texts], qrels: pa.Table) -> Iterator[str]:
    passages, asked = _grouped(corpus, "passage_id", "group"), _grouped(queries, "query_id", "query_group")
    yield from _named("queries to which only some passages of a group are relevant", _partial_groups(passages, qrels))
    yield from _named("groups whose queries differ in what is relevant", _uneven_groups(asked, qrels))


def _grouped(side: dict[str, Texts], id_name: str, group_name: str) -> pa.Table:
    """The texts that belong to a group, of all languages."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = [
        pa.table({id_name: texts.ids, group_name: texts.groups}).filter(pc.not_equal(texts.groups, ""))
        for texts in side.values()
    ]
    return pa.concat_tables(tables)


def _partial_groups(passages: pa.Table, qrels: pa.Table) -> list[str]:
    """Queries with a relevant passage and another one of its group that is not relevant."""
    import pyarrow.compute as pc

    sizes = passages.group_by("group").aggregate([([], "count_all")]).rename_columns(["group", "size"])
    judged = qrels.join(passages, "passage_id", join_type="inner")
    found = judged.group_by(["query_id", "group"]).aggregate([([], "count_all")]).join(sizes, "group")
    partial = found.filter(pc.less(found["count_all"], found["size"]))
    return sorted(f"{r['query_id']} -> {r['group']}" for r in partial.to_pylist())


def _uneven_groups(asked: pa.Table, qrels: pa.Table) -> list[str]:
    """Groups of parallel queries with a passage that is relevant to some of them but not to all."""
    import pyarrow.compute as pc

    sizes = asked.group_by("query_group").aggregate([([], "count_all")]).rename_columns(["query_group", "queries"])
    judged = qrels.join(asked, "query_id", join_type="inner")
    pairs = judged.group_by(["query_group", "passage_id"]).aggregate([([], "count_all")]).join(sizes, "query_group")
    uneven = pairs.filter(pc.less(pairs["count_all"], pairs["queries"]))
    return sorted(set(uneven["query_group"].to_pylist()))
