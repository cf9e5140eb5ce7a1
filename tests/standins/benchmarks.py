"""Stand-ins for published benchmarks: a few dozen made-up rows each, in the layout of the real files.

mteb's tasks go into a Hugging Face cache under the repositories and revisions that mteb names; LAReQA's files are
written as JSON. A language has syllables of its own script, and a word of it is made of these by number: word 7 is
another string in every language, and texts of the same words are translations of one another.

Layouts: mteb/scifact and its like hold corpus.jsonl, queries.jsonl and qrels/<split>.jsonl; multilingual ones hold
Parquet below <language>-corpus, <language>-queries and <language>-qrels, as `push_to_hub` writes them; mteb/belebele
has a configuration a language with the columns that mteb's loader reads. Which configurations the README of a real
repository lists is unverified, except that mteb's loader asks for them by these names.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hub_cache import HubCache

_LATIN = ["ba", "be", "di", "do", "fa", "ge", "hi", "ka", "lo", "ma", "ne", "pi", "ro", "sa", "tu", "ve", "wa", "zu"]
_SYLLABLES = {
    "ar": ["با", "دو", "في", "كا", "لو", "ما", "ني", "را", "سا", "تو"],
    "bn": ["কা", "দি", "নে", "পা", "বি", "মা", "রা", "সা", "তু", "লো"],
    "el": ["βα", "γε", "δι", "κα", "λο", "μα", "νε", "πι", "ρο", "σα"],
    "fa": ["با", "دو", "في", "گا", "لو", "ما", "ني", "پا", "چا", "تو"],
    "he": ["בא", "דו", "גי", "כא", "לו", "מא", "ני", "רא", "סא", "תו"],
    "hi": ["का", "दि", "ने", "पा", "बि", "मा", "रा", "सा", "तु", "लो"],
    "ja": ["か", "し", "つ", "て", "な", "ひ", "ふ", "め", "よ", "る"],
    "ko": ["가", "나", "다", "라", "마", "바", "사", "아", "자", "하"],
    "ru": ["ба", "ве", "ди", "ка", "ло", "ма", "не", "пи", "ро", "са"],
    "te": ["కా", "ది", "నే", "పా", "బి", "మా", "రా", "సా", "తు", "లో"],
    "th": ["กา", "ดี", "เน", "ปา", "บิ", "มา", "รา", "สา", "ตุ", "โล"],
    "zh": ["山", "水", "火", "木", "人", "天", "日", "月", "田", "石"],
}
_STOPS = {"hi": " ।", "bn": " ।", "ja": "。", "zh": "。", "th": ""}
_JOINED = {"ja", "zh", "th"}  # written without spaces between words

XQUAD_R = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA_R = ("ar", "de", "en", "es", "hi", "vi", "zh")
ENGLISH = ("SciFact", "NFCorpus", "FiQA2018", "ArguAna")
MULTILINGUAL = ("MIRACLRetrieval", "MIRACLRetrievalHardNegatives", "MKQARetrieval", "MuPLeR-retrieval")
BELEBELE = "BelebeleRetrieval"
TASKS = (*ENGLISH, *MULTILINGUAL, BELEBELE)
_BELEBELE_LANGUAGES = [
    "arb_Arab",
    "ben_Beng",
    "deu_Latn",
    "ell_Grek",
    "eng_Latn",
    "spa_Latn",
    "fin_Latn",
    "fra_Latn",
    "hin_Deva",
    "jpn_Jpan",
    "kor_Hang",
    "rus_Cyrl",
    "swh_Latn",
    "tel_Telu",
    "tha_Thai",
    "tur_Latn",
    "vie_Latn",
    "yor_Latn",
    "zho_Hans",
]
PASSAGES, QUERIES = 36, 12


def word(lang: str, number: int) -> str:
    """The word of this number in a language."""
    syllables = _SYLLABLES.get(lang, _LATIN)
    drawn = random.Random(f"{number}" if lang in _SYLLABLES else f"{lang} {number}")
    return "".join(drawn.choices(syllables, k=3))


def sentence(lang: str, numbers: Iterable[int], stop: str | None = None) -> str:
    """The words of these numbers, the first one in capitals where the script has them, with a full stop."""
    words = [word(lang, number) for number in numbers]
    text = ("" if lang in _JOINED else " ").join(words)
    return text[:1].upper() + text[1:] + (_STOPS.get(lang, ".") if stop is None else stop)


def make(
    cache: HubCache, files: Path, tasks: Sequence[str] | None = None, commits: Mapping[str, str] | None = None
) -> None:
    """Makes the stand-ins.

    Args:
        cache: Where the tasks' repositories go.
        files: Folder for LAReQA's files: xquad-r/<lang>.json and mlqa-r/<lang>.json.
        tasks: Names of mteb's tasks; all of TASKS if not given.
        commits: Repository -> commit, where another one than mteb's revision is wanted.
    """
    for task in TASKS if tasks is None else tasks:
        add_task(cache, task, commits or {})
    for name, languages in (("xquad-r", XQUAD_R), ("mlqa-r", MLQA_R)):
        for lang in languages:
            path = files / name / f"{lang}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(lareqa(name, lang, languages)), "utf-8")


def add_task(cache: HubCache, task: str, commits: Mapping[str, str]) -> Path:
    """Adds the repository of one task; returns its snapshot."""
    import mteb

    metadata = mteb.get_tasks(tasks=[task])[0].metadata
    repo, revision = metadata.dataset["path"], metadata.dataset["revision"]
    if task == BELEBELE:
        made = _belebele()
    elif task in MULTILINGUAL:
        made = _multilingual(task, metadata.eval_splits[0], {k: v[0] for k, v in metadata.eval_langs.items()})
    else:
        made = _english(task, metadata.eval_splits[0])
    return cache.add(repo, made, kind="dataset", commit=commits.get(repo, revision))


def lareqa(name: str, lang: str, languages: Sequence[str]) -> dict[str, Any]:
    """A file in the layout of LAReQA's: three articles of two paragraphs of four sentences, three questions each."""
    drawn = random.Random(name)
    articles = []
    for i in range(3):
        paragraphs = [_paragraph(name, lang, languages, 2 * i + j, drawn) for j in range(2)]
        articles.append({"paragraphs": paragraphs, "title": f"Article {i}"})
    return {"data": articles, "version": "1.1"}


def _paragraph(name: str, lang: str, languages: Sequence[str], number: int, drawn: random.Random) -> dict[str, Any]:
    numbers = [drawn.sample(range(900), 7) for _ in range(4)]
    parts = [sentence(lang, words) for words in numbers]
    if lang == "th":  # splitters find fewer sentences in Thai
        parts[2:] = [parts[2] + " " + parts[3]]
    context, breaks = "", []
    for part in parts:
        start = len(context) + bool(context)
        context = f"{context} {part}" if context else part
        breaks.append([start, start + len(part)])
    qas = []
    for k, words in enumerate(numbers[:3]):
        # A question of MLQA stands in English and in some of the other languages.
        asked = name == "xquad-r" or lang == "en" or (number + k + languages.index(lang)) % 3
        answer = word(lang, words[5])
        if asked:
            qas.append(
                {
                    "answers": [
                        {"answer_start": context.index(answer, breaks[min(k, len(breaks) - 1)][0]), "text": answer}
                    ],
                    "id": f"{number:08x}{k:016x}",
                    "question": sentence(lang, words[:4], "?"),
                }
            )
    return {
        "context": context,
        "qas": qas,
        "sentence_breaks": breaks,
        "sentences": [context[start:end] for start, end in breaks],
    }


def _english(task: str, split: str) -> dict[str, bytes | str]:
    drawn = random.Random(task)
    words = [drawn.sample(range(400), 14) for _ in range(PASSAGES)]
    corpus = [
        {"_id": f"{task[:3].lower()}-{i}", "title": sentence("en", w[:3], ""), "text": sentence("en", w[3:])}
        for i, w in enumerate(words)
    ]
    corpus[7]["title"] = ""
    queries = [{"_id": f"q{i}", "text": sentence("en", words[i][2:8], "?")} for i in range(QUERIES)]
    if task == "ArguAna":  # a query is itself an argument of the corpus, and one relevant document is missing
        for i, query in enumerate(queries):
            query |= {"_id": corpus[i + QUERIES]["_id"], "text": corpus[i + QUERIES]["text"]}
    grades = (2, 1, 1, 0) if task == "NFCorpus" else (1,)
    qrels = [
        {"query-id": query["_id"], "corpus-id": corpus[(i + 5 * k) % PASSAGES]["_id"], "score": grade}
        for i, query in enumerate(queries)
        for k, grade in enumerate(grades)
    ]
    if task == "ArguAna":
        qrels[3]["corpus-id"] = "arg-gone"
    if task == "NFCorpus":  # a query for which nothing relevant was found
        qrels[-len(grades) :] = [{**row, "score": 0} for row in qrels[-len(grades) :]]
    if task == "FiQA2018":  # the real data holds empty documents and copies
        corpus[30] |= {"title": "", "text": ""}
        corpus[31] |= {"title": corpus[0]["title"], "text": corpus[0]["text"]}
    # The real files hold queries of other splits too.
    queries.append({"_id": "of-train", "text": "never asked"})
    configs = {"default": {split: f"qrels/{split}.jsonl"}, "corpus": {"corpus": "corpus.jsonl"}}
    return {
        "README.md": _readme({**configs, "queries": {"queries": "queries.jsonl"}}),
        "corpus.jsonl": _jsonl(corpus),
        "queries.jsonl": _jsonl(queries),
        f"qrels/{split}.jsonl": _jsonl(qrels),
    }


def _multilingual(task: str, split: str, subsets: Mapping[str, str]) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    configs = {}
    for subset in subsets:
        corpus, queries, qrels = _language_of(task, subset.partition("_")[0])
        for part, rows in (("corpus", corpus), ("queries", queries), ("qrels", qrels)):
            name = f"{subset}-{part}"
            files[f"{name}/{split}-00000-of-00001.parquet"] = _parquet(rows)
            configs[name] = {split: f"{name}/{split}-*"}
    return {"README.md": _readme(configs), **files}


def _language_of(task: str, lang: str) -> tuple[list[dict], list[dict], list[dict]]:
    parallel = task == "MuPLeR-retrieval"
    drawn = random.Random(task if parallel else f"{task} {lang}")
    words = [drawn.sample(range(400), 14) for _ in range(PASSAGES)]
    if task == "MKQARetrieval":  # passages are the answers
        words = [w[:4] for w in words]
    ids = [f"{i}" if parallel or task == "MKQARetrieval" else f"{1000 + i}#{i % 3}" for i in range(PASSAGES)]
    corpus = [{"_id": i, "text": sentence(lang, w[3:])} for i, w in zip(ids, words, strict=True)]
    if task.startswith("MIRACL"):
        for row, w in zip(corpus, words, strict=True):
            row["title"] = sentence(lang, w[:3], "")
    queries = [{"_id": f"{i}", "text": sentence(lang, words[i][2:8], "?")} for i in range(QUERIES)]
    qrels = [{"query-id": f"{i}", "corpus-id": ids[i], "score": 1} for i in range(QUERIES)]
    if task.startswith("MIRACL"):
        qrels += [
            {"query-id": f"{i}", "corpus-id": ids[(i + k) % PASSAGES], "score": int(k == 9)}
            for i in range(QUERIES)
            for k in (9, 13)
        ]
    return corpus, queries, qrels


def _belebele() -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    for code in _BELEBELE_LANGUAGES:
        files[f"{code}/test-00000-of-00001.parquet"] = _parquet(_belebele_rows(code))
    configs = {code: {"test": f"{code}/test-*"} for code in _BELEBELE_LANGUAGES}
    return {"README.md": _readme(configs), **files}


def _belebele_rows(code: str) -> list[dict[str, Any]]:
    """Two questions a passage; in German the rows stand in another order, in English one question is asked twice."""
    from polybatch.core.languages import LANGUAGES

    lang = next(entry.iso for entry in LANGUAGES.values() if entry.nllb == code)
    drawn = random.Random("belebele")
    rows: list[dict[str, Any]] = []
    for i in range(QUERIES):
        words = drawn.sample(range(400), 16)
        for question in (1, 2):
            asked = words[question * 5 : question * 5 + 5]
            if lang == "en" and question == 2 and i < 2:
                asked = [1, 2, 3, 4]
            rows.append(
                {
                    "link": f"https://en.wikinews.org/wiki/{i}",
                    "question_number": question,
                    "flores_passage": sentence(lang, words[:8]) + " " + sentence(lang, words[8:]),
                    "question": sentence(lang, asked, "?"),
                    **{f"mc_answer{k}": word(lang, words[k]) for k in (1, 2, 3, 4)},
                    "correct_answer_num": "2",
                    "dialect": code,
                    "ds": "2023-05-03",
                }
            )
    if lang == "de":
        random.Random(1).shuffle(rows)
    return rows


def _readme(configs: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", "Made-up text in the layout of the real data set.", ""])


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()
