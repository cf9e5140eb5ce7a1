"""Makes a sentence retrieval benchmark from question answering data in SQuAD's layout: XQuAD-R, MLQA-R.

inputs: one JSON file a language (plain, .gz, or the .zip that MLQA is published in)
outputs: benchmarks/<name>/ (see benchmark.py), with the contexts as documents

Candidates are the sentences of all contexts; the relevant one of a query, in each language that has the question, is
the sentence in which the answer starts (Roy et al., LAReQA, arXiv 2004.05484, section 3.1). LAReQA's files say where
sentences begin and end; those of MLQA (Lewis et al., arXiv 1910.07475) do not, and are split here. Sentences are no
translations of one another, since languages were split independently: passages have no group, queries have their id.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.benchmarks.write import Parts, write_benchmark
from polybatch.core import json_text, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import language
from polybatch.core.row_files import is_unanswered, squad_paragraphs
from polybatch.core.text import is_blank
from polybatch.core.values import Fault, Faults, identifier, shown, text

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


@dataclass
class Language:
    """What one language's file holds.

    Attributes:
        queries, passages, documents: Rows of contracts.QUERIES, CORPUS and DOCUMENTS, without their lang.
        relevant: Question id -> the id of the sentence that holds the answer.
        misplaced: Ids of questions whose answer does not stand where the file says.
        unanswered: Questions that are marked as having no answer; they are left out.
    """

    queries: list[dict[str, Any]] = field(default_factory=list)
    passages: list[dict[str, Any]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    relevant: dict[str, str] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)
    unanswered: int = 0


def read_language(path: Path, lang: str, breaks: str) -> Language:
    """Reads one language's file.

    Args:
        path: A JSON file in SQuAD's layout.
        lang: Its ISO 639-1 code.
        breaks: "given": contexts have `sentence_breaks`, pairs of a start and an end in characters. "split": they are
            split into sentences here.

    Raises:
        DataError: The layout is another one, an answer stands in no sentence, or too many answers are not where the
            file says. All faults of a file are counted in it.
    """
    found, faults = Language(), Faults(path)
    for place, paragraph, questions in squad_paragraphs(_document(path, lang), path):
        _add_paragraph(found, paragraph, questions, lang=lang, where=place, breaks=breaks, faults=faults)
    if len(found.misplaced) > _MOST_MISPLACED * len(found.queries):
        faults.add("all", f"{len(found.misplaced)} answers are not where answer_start says")
    if not found.queries and not faults.number:
        faults.add("data", f"no question{', but for those without an answer' if found.unanswered else ''}")
    faults.tell(
        f"The questions in {lang} cannot be used: {{number}} fault(s).",
        expected="context, qas (id, question, answers with text and answer_start), and answers that start in a sentence"
        + ("; sentence_breaks, pairs of a start and an end" if breaks == "given" else ""),
        remedy="correct the file or fetch it again; for files without sentence breaks, such as MLQA's own, split them",
    )
    if found.unanswered:
        stage.log.warning("%s: %d questions have no answer and are left out", path, found.unanswered)
    return found


def _document(path: Path, lang: str) -> Any:
    if path.suffix != ".zip":
        return json_text.read_document(path)
    member = f"dev/dev-context-{lang}-question-{lang}.json"  # as MLQA's archive is laid out
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(member) and not name.startswith("__MACOSX")]
            raw = archive.read(names[0]) if len(names) == 1 else None
    except (OSError, EOFError, RuntimeError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError("An archive cannot be read.", where=path, found=found, remedy="fetch it again") from error
    if raw is None:
        found = f"{len(names)} files {member} in the archive"
        raise DataError("An archive does not hold the language.", where=path, expected="one", found=found)
    return json_text.parse_document(raw, f"{path}: {names[0]}")


def _add_paragraph(
    found: Language,
    paragraph: Mapping[str, Any],
    questions: Sequence[Any],
    *,
    lang: str,
    where: str,
    breaks: str,
    faults: Faults,
) -> None:
    """Adds a paragraph's sentences and questions."""
    place = ".".join(re.findall(r"\d+", where))  # article.paragraph
    try:
        context = _required(paragraph, "context")
        spans = _breaks(paragraph, context) if breaks == "given" else split_sentences(lang, context)
    except Fault as fault:
        faults.add(where, fault)
        return
    ids = [f"{lang}-{place}.{k}" for k in range(len(spans))]
    found.documents.append({"document_id": f"{lang}-{place}", "text": context})
    found.passages += [
        {"passage_id": i, "text": context[start:end], "group": ""} for i, (start, end) in zip(ids, spans, strict=True)
    ]
    sentences = dict(zip(ids, spans, strict=True))
    for number, question in enumerate(questions):
        try:
            if not isinstance(question, dict):
                raise Fault(f"no object: {shown(question)}")
            if is_unanswered(question):
                found.unanswered += 1
            else:
                _add_question(found, question, context, sentences, lang)
        except Fault as fault:
            faults.add(f"{where}.qas[{number}]", fault)


def _add_question(
    found: Language, question: Mapping[str, Any], context: str, spans: Mapping[str, Sequence[int]], lang: str
) -> None:
    identity = identifier(question.get("id"), "id")
    if is_blank(identity):
        raise Fault("no id")
    if identity in found.relevant:
        raise Fault(f"another question has the id {shown(identity)}")
    answers = question.get("answers")
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise Fault(f"answers is no list of objects: {shown(answers)}")
    texts = [_required(answer, "text") for answer in answers]
    start = answers[0].get("answer_start")
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise Fault(f"answer_start is no place in the context: {shown(start)}")
    if not context.startswith(texts[0], start):
        found.misplaced.append(identity)
    holding = _sentence_at(context, list(spans.values()), start)
    if holding is None:
        raise Fault(f"the answer of {identity} (character {start}) stands in no sentence")
    found.relevant[identity] = list(spans)[holding]
    found.queries.append(
        {
            "query_id": f"{lang}-{identity}",
            "text": _required(question, "question"),
            "group": identity,
            "answers": list(dict.fromkeys(texts)),
        }
    )


def _required(values: Mapping[str, Any], name: str) -> str:
    value = text(values.get(name), name)
    if is_blank(value):
        raise Fault(f"no {name}")
    return value


def _breaks(paragraph: Mapping[str, Any], context: str) -> list[tuple[int, int]]:
    """The sentence breaks that a file gives, checked to be places in the context."""
    given = paragraph.get("sentence_breaks")
    pairs = [tuple(pair) for pair in given if isinstance(pair, list)] if isinstance(given, list) else []
    if not isinstance(given, list) or len(pairs) != len(given):
        raise Fault(
            f"sentence_breaks is no list of pairs: {shown(given)}" if given is not None else "no sentence_breaks"
        )
    for pair in pairs:
        whole = len(pair) == 2 and all(isinstance(end, int) and not isinstance(end, bool) for end in pair)
        if not whole or not 0 <= pair[0] <= pair[1] <= len(context):
            raise Fault(f"a sentence break is no pair of places in the context: {shown(list(pair))}")
    return pairs


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
    """Writes benchmarks/<name>/ from question answering data in SQuAD's layout.

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
    counted = {
        "misplaced_answers": {lang: len(found.misplaced) for lang, found in read.items() if found.misplaced},
        "questions_without_answer": {lang: found.unanswered for lang, found in read.items() if found.unanswered},
    }
    return write_benchmark(output, parts, {"adapter": "lareqa", "breaks": breaks, **counted, **(card or {})})


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
