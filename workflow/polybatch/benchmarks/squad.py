"""Makes a sentence retrieval benchmark from question answering data in SQuAD's layout: XQuAD-R, MLQA-R.

inputs: one JSON file a language (plain, .gz, or the .zip that MLQA is published in)
outputs: benchmarks/<name>/ (see benchmark.py), with the contexts as documents

Candidates are the sentences of all contexts; the relevant one of a query, in each language that has the question, is
the sentence in which the answer starts (Roy et al., LAReQA, arXiv 2004.05484, section 3.1). LAReQA's files say where
sentences begin and end; those of MLQA (Lewis et al., arXiv 1910.07475) do not, and are split here. Sentences are no
translations of one another, since languages were split independently: passages have no group, queries have their id.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.benchmarks.write import Parts, write_benchmark
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language

# From the README of github.com/google-research-datasets/lareqa.
PUBLISHED: dict[str, dict[str, dict[str, int]]] = {
    "xquad-r": {
        "queries": dict.fromkeys(("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"), 1190),
        "candidates": {
            "ar": 1222,
            "de": 1276,
            "el": 1234,
            "en": 1180,
            "es": 1215,
            "hi": 1244,
            "ru": 1219,
            "th": 852,
            "tr": 1167,
            "vi": 1209,
            "zh": 1196,
        },
    },
    "mlqa-r": {
        "queries": {"ar": 517, "de": 512, "en": 1148, "es": 500, "hi": 507, "vi": 511, "zh": 504},
        "candidates": {"ar": 2545, "de": 2362, "en": 6264, "es": 1787, "hi": 2426, "vi": 2828, "zh": 2322},
    },
}
# Answers that do not stand where the file says: a few are slips of the annotation, many mean that offsets count
# something else than characters.
_MOST_MISPLACED = 0.01
_NAMED = 3


@dataclass
class Language:
    """What one language's file holds.

    Attributes:
        queries, passages, documents: Rows of contracts.QUERIES, CORPUS and DOCUMENTS, without their lang.
        relevant: Question id -> the id of the sentence that holds the answer.
        misplaced: Ids of questions whose answer does not stand where the file says.
    """

    queries: list[dict[str, Any]] = field(default_factory=list)
    passages: list[dict[str, Any]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    relevant: dict[str, str] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)


def read_language(path: Path, lang: str, breaks: str) -> Language:
    """Reads one language's file.

    Args:
        path: A JSON file in SQuAD's layout.
        lang: Its ISO 639-1 code.
        breaks: "given": contexts have `sentence_breaks`, pairs of a start and an end in characters. "split": they are
            split into sentences here.

    Raises:
        DataError: The layout is another one, an answer stands in no sentence, or too many answers are not where the
            file says.
    """
    found, faults = Language(), []
    for place, paragraph in _paragraphs(path, lang):
        try:
            faults += list(_add_paragraph(found, paragraph, lang, place, breaks))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(
                "A file of a question answering data set has another layout than expected.",
                where=f"{path}, {place}",
                expected="context, qas (id, question, answers with text and answer_start)"
                + (", sentence_breaks" if breaks == "given" else ""),
                found=f"{type(error).__name__}: {error}",
                remedy="fetch the file again; for files without sentence breaks, such as MLQA's own, split them",
            ) from error
    if len(found.misplaced) > _MOST_MISPLACED * len(found.queries):
        faults.append(f"{len(found.misplaced)} answers are not where answer_start says")
    if faults or not found.queries:
        more = f" and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise DataError(
            f"The questions in {lang} cannot be used.",
            where=path,
            expected="answers that start in a sentence, at the character that the file names",
            found="; ".join(faults[:_NAMED]) + more or "no question",
        )
    return found


def _paragraphs(path: Path, lang: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(article.paragraph, the paragraph) of a file."""
    try:
        data = json.loads(_raw(path, lang))["data"]
        for i, article in enumerate(data):
            for j, paragraph in enumerate(article["paragraphs"]):
                yield f"{i}.{j}", paragraph
    except FileNotFoundError as error:
        raise DataError("A benchmark's file is missing.", where=path, remedy="fetch it, or correct its path") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            "A benchmark's file cannot be read.",
            where=path,
            expected="JSON with data, and in it articles with paragraphs",
            found=f"{type(error).__name__}: {error}",
            remedy="fetch it again",
        ) from error


def _raw(path: Path, lang: str) -> bytes:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix != ".zip":
        return path.read_bytes()
    member = f"dev/dev-context-{lang}-question-{lang}.json"  # as MLQA's archive is laid out
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(member) and not name.startswith("__MACOSX")]
        if len(names) != 1:
            raise KeyError(f"{len(names)} files {member} in the archive")
        return archive.read(names[0])


def _add_paragraph(found: Language, paragraph: Mapping[str, Any], lang: str, place: str, breaks: str) -> Iterator[str]:
    """Adds a paragraph's sentences and questions; yields a fault for each answer that stands in no sentence."""
    context: str = paragraph["context"]
    spans = paragraph["sentence_breaks"] if breaks == "given" else split_sentences(lang, context)
    ids = [f"{lang}-{place}.{k}" for k in range(len(spans))]
    found.documents.append({"document_id": f"{lang}-{place}", "text": context})
    found.passages += [
        {"passage_id": i, "text": context[start:end], "group": ""} for i, (start, end) in zip(ids, spans, strict=True)
    ]
    for qa in paragraph["qas"]:
        first = qa["answers"][0]
        if not context.startswith(first["text"], first["answer_start"]):
            found.misplaced.append(qa["id"])
        holding = _sentence_at(context, spans, first["answer_start"])
        if holding is None:
            yield f"the answer of {qa['id']} (character {first['answer_start']}) stands in no sentence"
            continue
        found.relevant[qa["id"]] = ids[holding]
        found.queries.append(
            {
                "query_id": f"{lang}-{qa['id']}",
                "text": qa["question"],
                "group": qa["id"],
                "answers": list(dict.fromkeys(answer["text"] for answer in qa["answers"])),
            }
        )


def _sentence_at(context: str, spans: Sequence[Sequence[int]], start: int) -> int | None:
    """Which sentence holds the first visible character from `start` on."""
    while start < len(context) and context[start].isspace():
        start += 1
    return next((k for k, (first, end) in enumerate(spans) if first <= start < end), None)


def split_sentences(lang: str, context: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, white space around it left out; a language unknown to the splitter is taken
    to be like English."""
    import sentencex

    spans, start = [], 0
    for part in sentencex.segment(lang, context):
        if not context.startswith(part, start):
            raise DataError("The sentence splitter changed the text.", where=context[start : start + 60], found=part)
        stripped = part.strip()
        if stripped:
            first = start + part.index(stripped)
            spans.append((first, first + len(stripped)))
        start += len(part)
    return spans


def build(
    files: Mapping[str, Path],
    output: Path,
    *,
    breaks: str = "given",
    expected: Mapping[str, Mapping[str, int]] | None = None,
    card: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the benchmark.

    Args:
        files: language -> its file.
        output: benchmarks/<name>.
        breaks: See `read_language`.
        expected: {"queries": {language: number}, "candidates": {language: number}}; what is not named is not checked.
        card: What else the card is to say, for example the licence.

    Returns:
        The card as written.

    Raises:
        DataError: A file cannot be used, or holds another number of queries or candidates than expected.
    """
    read = {language(lang).iso: read_language(path, lang, breaks) for lang, path in files.items()}
    _require_counts(read, expected or {}, output.name)
    parts = Parts(
        corpus={lang: found.passages for lang, found in read.items()},
        queries={lang: found.queries for lang, found in read.items()},
        qrels=_qrels(read),
        documents={lang: found.documents for lang, found in read.items()},
    )
    misplaced = {lang: len(found.misplaced) for lang, found in read.items() if found.misplaced}
    return write_benchmark(
        output, parts, {"adapter": "lareqa", "breaks": breaks, "misplaced_answers": misplaced, **(card or {})}
    )


def _qrels(read: Mapping[str, Language]) -> Iterator[dict[str, Any]]:
    """A query's relevant passages: in every language that has the question, the sentence that holds its answer."""
    for found in read.values():
        for query in found.queries:
            for other in read.values():
                if query["group"] in other.relevant:
                    passage = other.relevant[query["group"]]
                    yield {"query_id": query["query_id"], "passage_id": passage, "relevance": 1}


def _require_counts(read: Mapping[str, Language], expected: Mapping[str, Mapping[str, int]], name: str) -> None:
    counts = {
        "queries": {lang: len(found.queries) for lang, found in read.items()},
        "candidates": {lang: len(found.passages) for lang, found in read.items()},
    }
    other = [
        f"{lang}: {number} {side} instead of {expected[side][lang]}"
        for side in counts
        for lang, number in counts[side].items()
        if number != expected.get(side, {}).get(lang, number)
    ]
    if other:
        raise DataError(
            f"The benchmark {name} is not the published one.",
            expected="the published numbers of queries and candidates",
            found="; ".join(other),
            remedy="fetch the files again; for other data of this layout, leave out the expected counts",
        )


def read_counts(text: str) -> Mapping[str, Mapping[str, int]]:
    """Expected counts: the name of a published benchmark, or JSON as `build` takes it."""
    if text in PUBLISHED:
        return PUBLISHED[text]
    try:
        counts = json.loads(text)
        if not set(counts) - {"queries", "candidates"}:
            return {side: {str(lang): int(number) for lang, number in of.items()} for side, of in counts.items()}
    except (ValueError, AttributeError, TypeError):
        pass
    raise ConfigError(
        "The expected counts cannot be read.",
        expected=f'one of {", ".join(PUBLISHED)}, or JSON such as {{"queries": {{"en": 1190}}, "candidates": {{}}}}',
        found=text,
    )
