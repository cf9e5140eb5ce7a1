"""Makes a benchmark from a folder in BEIR's layout: your own data, or an unpacked data set of BEIR.

inputs: a folder with corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels/<split>.tsv, each .jsonl
plain or .gz (Thakur et al., BEIR, arXiv 2104.08663); or such a folder for each language
outputs: benchmarks/<name>/ (see benchmark.py)

Several languages: <folder>/<lang>/corpus.jsonl and queries.jsonl. One qrels/<split>.tsv beside these folders says that
ids are shared: equal ids name translations, and a judgement holds in every language. A <lang>/qrels/<split>.tsv in each
says that they are not: a judgement holds inside its language. Queries that the split does not judge are left out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from polybatch.benchmarks.options import MOST_ABSENT
from polybatch.benchmarks.retrieval_data import (
    Data,
    join_by_ids,
    joined,
    parts_of,
    relevant,
    require_present,
)
from polybatch.benchmarks.write import write_benchmark
from polybatch.core import stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.core.lines import numbered_lines
from polybatch.core.row_files import file_rows
from polybatch.core.text import hash64, is_blank
from polybatch.core.values import Fault, Faults, grade, identifier, is_missing, shown, text

_HEADER = ["query-id", "corpus-id", "score"]

Judgements = dict[str, dict[str, int]]


def build(
    folder: Path,
    output: Path,
    query_languages: Sequence[str],
    corpus_languages: Sequence[str] | None = None,
    *,
    split: str = "test",
    exclude_same_ids: bool = False,
    most_absent: float = MOST_ABSENT,
) -> dict[str, Any]:
    """Writes benchmarks/<name>/ from a folder in BEIR's layout.

    Args:
        folder: See above.
        output: benchmarks/<name>.
        query_languages, corpus_languages: ISO 639-1 codes; the corpora's are the queries' if not given.
        split: Which judgements, and thereby queries.
        exclude_same_ids: Take a passage that has a query's id out of that query's rankings, as BEIR's own code does.
        most_absent: The share of relevant passages that the corpora may lack.

    Returns:
        The card as written.

    Raises:
        ConfigError: The folder does not hold the languages.
        DataError: A file is missing or has another layout, or judgements name texts that are not there.
    """
    corpus_languages = query_languages if corpus_languages is None else corpus_languages
    places = _places(folder, [*query_languages, *corpus_languages])
    shared = folder / "qrels" / f"{split}.tsv"
    data = Data(same_ids_excluded=exclude_same_ids)
    data.corpora = {lang: _passages(places[lang]) for lang in corpus_languages}
    data.bodies = {lang: _bodies(places[lang]) for lang in corpus_languages}
    texts = {lang: _queries(places[lang]) for lang in query_languages}
    parallel = shared.parent.is_dir() and folder not in places.values()
    if parallel:
        _require_one_place(shared, places)
        _read_shared(data, texts, folder, read_qrels(shared), most_absent)
    else:
        _read_own(data, texts, places, split, most_absent)
    card = {
        "adapter": "beir",
        "path": str(folder),
        "split": split,
        "queries_without_relevant_passage": data.unanswerable(),
        "queries_not_judged": {lang: len(of) - len(data.queries[lang]) for lang, of in texts.items()},
        "ids_shared": parallel,
    }
    return write_benchmark(output, parts_of(data, query_languages, corpus_languages), card)


def _require_one_place(shared: Path, places: dict[str, Path]) -> None:
    own = [place / "qrels" / shared.name for place in places.values()]
    if twice := [path for path in own if path.is_file()]:
        raise DataError(
            "The judgements of a benchmark stand in two places.",
            where=shared,
            expected="judgements of all languages in one file, or of each language in its folder",
            found=", ".join(map(str, twice)),
            remedy="remove the one or the others",
        )


def _places(folder: Path, languages: Sequence[str]) -> dict[str, Path]:
    """language -> where its corpus.jsonl and queries.jsonl are."""
    wanted = list(dict.fromkeys(language(lang).iso for lang in languages))
    there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if all(lang in there for lang in wanted):
        if outside := _found(folder, "corpus"):
            raise DataError(
                "A benchmark has passages beside its languages' folders and within them.",
                where=folder,
                found=f"{outside.name} and {' '.join(f'{lang}/' for lang in wanted)}",
                remedy="remove the one or the others",
            )
        return {lang: folder / lang for lang in wanted}
    if len(wanted) == 1 and _found(folder, "corpus") is not None:
        return {wanted[0]: folder}
    raise ConfigError(
        "A folder in BEIR's layout does not hold the languages.",
        where=folder,
        expected=" ".join(f"{lang}/" for lang in wanted) + (" or corpus.jsonl" if len(wanted) == 1 else ""),
        found=" ".join(f"{name}/" for name in there) or "no folder",
        remedy="put each language's corpus.jsonl and queries.jsonl into a folder named by its code",
    )


def _found(folder: Path, name: str) -> Path | None:
    there = [path for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if path.is_file()]
    if len(there) > 1:
        raise DataError(
            "A file of a benchmark is there twice.",
            where=folder,
            expected="one of the two",
            found=" and ".join(path.name for path in there),
            remedy="remove one; nothing says which is meant",
        )
    return there[0] if there else None


def _lines(folder: Path, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(where, id, title, text) of the objects of a .jsonl file; faults are told together at its end."""
    path = _found(folder, name)
    if path is None:
        raise DataError("A file of a benchmark is missing.", where=folder / f"{name}.jsonl")
    faults = Faults(path)
    for where, row in file_rows(path, "jsonl", ()):
        try:
            if isinstance(row, Fault):
                raise row
            found = identifier(row.get("_id"), "_id"), text(row.get("title"), "title"), text(row.get("text"), "text")
            if is_blank(found[0]) or is_missing(row.get("text")):
                raise Fault("no _id" if is_blank(found[0]) else "no text")
            if name == "queries" and is_blank(found[2]):
                raise Fault("empty text")
            yield where, *found
        except Fault as fault:
            faults.add(where, fault)
    faults.tell(
        "{number} line(s) of a benchmark's file cannot be read.",
        expected='objects with "_id" (text or a whole number) and "text", and of queries none that is empty',
        remedy="correct these lines",
    )


def _passages(folder: Path) -> Callable[[], Iterator[tuple[str, str]]]:
    def rows() -> Iterator[tuple[str, str]]:
        keys = array("Q")  # eight bytes a passage: corpora have millions
        for _, identity, title, body in _lines(folder, "corpus"):
            keys.append(hash64(identity))
            passage = joined("" if is_blank(title) else title, body)
            yield identity, "" if is_blank(passage) else passage
        _require_distinct(folder, keys)

    return rows


def _bodies(folder: Path) -> Callable[[], Iterator[tuple[str, str]]]:
    def rows() -> Iterator[tuple[str, str]]:
        for _, identity, title, body in _lines(folder, "corpus"):
            if not is_blank(title) and not is_blank(body):
                yield identity, body.strip()

    return rows


def _require_distinct(folder: Path, keys: array[int]) -> None:
    """Raises a DataError if two passages have one id; only then is the corpus read again, for the lines."""
    import numpy as np

    found, counts = np.unique(np.frombuffer(keys, dtype=np.uint64), return_counts=True)
    repeated = set(found[counts > 1].tolist())
    if not repeated:
        return
    faults = Faults(_found(folder, "corpus"))
    first: dict[str, str] = {}
    for where, identity, _, _ in _lines(folder, "corpus"):
        if hash64(identity) in repeated and (known := first.setdefault(identity, where)) != where:
            faults.add(where, f"a passage has the id {shown(identity)} in {known} already")
    faults.tell("{number} passage(s) have an id that another one has.", remedy="give each passage an id of its own")


def _queries(folder: Path) -> dict[str, str]:
    found: dict[str, tuple[str, str]] = {}
    faults, again = Faults(_found(folder, "queries")), 0
    for where, identity, _, query in _lines(folder, "queries"):
        first, known = found.setdefault(identity, (where, query))
        if known != query:
            faults.add(where, f"another query has the id {shown(identity)} in {first}")
        elif first != where:
            again += 1
    faults.tell("Two queries have one id.", remedy="give each query an id of its own")
    if again:
        stage.log.warning("%s: %d queries stand in queries.jsonl again, with the same id and text", folder, again)
    return {identity: query for identity, (_, query) in found.items()}


def read_qrels(path: Path) -> Judgements:
    """query id -> passage id -> relevance, of a tab-separated file in BEIR's layout, with or without headers.

    Raises:
        DataError: It is missing, a line of it is no judgement, or two lines contradict each other.
    """
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.tsv")))
        raise DataError(
            "The judgements of a benchmark are missing.",
            where=path,
            found=f"the split(s) {there}" if there else "no judgements",
            remedy="name a split that is there",
        )
    found: Judgements = {}
    lines: dict[tuple[str, str], int] = {}
    faults, again, first_row = Faults(path), 0, True
    for number, line in numbered_lines(path):
        row = line.rstrip("\r\n").split("\t")
        if not line.strip():
            continue
        is_header, first_row = first_row and row == _HEADER, False
        if is_header:
            continue
        try:
            query, passage, relevance = _judgement(row)
            first = lines.setdefault((query, passage), number)
            known = found.setdefault(query, {}).setdefault(passage, relevance)
            if known != relevance:
                pair = f"query {shown(query)} and passage {shown(passage)}"
                raise Fault(f"{pair} are judged {relevance}, in line {first} {known}")
            again += first != number
        except Fault as fault:
            faults.add(f"line {number}", fault)
    faults.tell(
        "{number} line(s) of the judgements cannot be used.",
        expected="query-id, corpus-id and a whole number, with tabs between them; each pair judged once",
        remedy="correct these lines",
    )
    if again:
        stage.log.warning("%s: %d judgements are given again, and alike", path, again)
    return found


def _judgement(row: Sequence[str]) -> tuple[str, str, int]:
    if len(row) != len(_HEADER):
        raise Fault(f"{len(row)} field(s), not 3: {shown(chr(9).join(row))}")
    if is_blank(row[0]) or is_blank(row[1]):
        raise Fault(f"an empty id: {shown(chr(9).join(row))}")
    return row[0], row[1], grade(row[2], "score")


def _read_own(
    data: Data, texts: dict[str, dict[str, str]], places: dict[str, Path], split: str, most_absent: float
) -> None:
    """Judgements inside each language."""
    for lang, queries in texts.items():
        judgements = read_qrels(places[lang] / "qrels" / f"{split}.tsv")
        if lang not in data.corpora:
            raise ConfigError(
                "Queries are to be searched in another language, but their judgements hold in their own.",
                where=places[lang] / "qrels",
                expected="a corpus in " + lang,
                found=" ".join(data.corpora),
                remedy="where languages share ids, put one qrels folder beside theirs; else add the language's corpus",
            )
        data.queries[lang] = _judged(queries, judgements, places[lang])
        data.judged[lang, lang] = list(data.queries[lang])
        data.qrels[lang, lang] = relevant(judgements, data.queries[lang])
        named = {passage for grades in data.qrels[lang, lang].values() for passage in grades}
        absent = named - {i for i, _ in data.corpora[lang]() if i in named}
        require_present(str(places[lang]), absent, named, most_absent)


def _read_shared(
    data: Data, texts: dict[str, dict[str, str]], folder: Path, judgements: Judgements, most_absent: float
) -> None:
    """Judgements over all languages. A passage that only some languages have is relevant in these."""
    data.queries = {
        lang: {i: text for i, text in queries.items() if i in judgements} for lang, queries in texts.items()
    }
    named = {passage for grades in judgements.values() for passage, grade in grades.items() if grade > 0}
    there = {lang: {i for i, _ in rows() if i in named} for lang, rows in data.corpora.items()}
    unasked, absent = _in_no_language(folder, set(judgements), named)
    _require_known(unasked, folder)
    require_present(str(folder), absent, named, most_absent)
    of_corpus = {lang: _among(judgements, ids | absent) for lang, ids in there.items()}
    for query_lang, queries in data.queries.items():
        for corpus_lang, grades in of_corpus.items():
            data.judged[query_lang, corpus_lang] = list(queries)
            data.qrels[query_lang, corpus_lang] = relevant(grades, queries)
    join_by_ids(data)


def _among(judgements: Judgements, passages: set[str]) -> Judgements:
    """The judgements of these passages."""
    return {i: {p: g for p, g in grades.items() if p in passages} for i, grades in judgements.items()}


def _in_no_language(folder: Path, queries: set[str], passages: set[str]) -> tuple[set[str], set[str]]:
    """Which queries and passages stand in no language's files, be the language evaluated or not."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if _found(place, "queries"):
            queries = queries - set(_queries(place))
        if _found(place, "corpus"):
            passages = passages - {i for i, _ in _passages(place)()}
    return queries, passages


def _require_known(unknown: set[str], place: Path) -> None:
    if unknown:
        raise DataError(
            "Judgements name queries that are not there.",
            where=place,
            found=f"{len(unknown)}: {', '.join(sorted(unknown)[:3])}",
            remedy="add them to queries.jsonl, or take them out of the judgements",
        )


def _judged(queries: dict[str, str], judgements: Judgements, place: Path) -> dict[str, str]:
    _require_known(set(judgements) - set(queries), place)
    return {i: text for i, text in queries.items() if i in judgements}
