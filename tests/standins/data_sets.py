"""Tiny stand-ins of the English question-answer data sets and of mMARCO, under their real ids, in their real layouts.

Texts come from a small grammar: invented towns, and what one may ask of them, in seven languages. Everything is
decided by the numbers in the grammar: no randomness. Some rows are there to be dropped: duplicates, rows too short, and
questions without answers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hub_cache import HubCache, commit_of

from polybatch.collect.adapters.data_sets import DATA_SETS
from polybatch.collect.adapters.mmarco import REPO, REVISION, TRIPLES
from polybatch.collect.options import MMARCO_NAMES

ENTITY_QUESTIONS = "stand-in/entity-questions"  # the data set has no repository of its own on the hub
ADAPTERS = (*DATA_SETS, "entity_questions", "mmarco")
MMARCO_LANGUAGES = ("en", "ar", "de", "es", "hi", "ru", "zh")
CONVERTED = "refs/convert/parquet"

_HEADS = [
    "Bar",
    "Bel",
    "Cal",
    "Cor",
    "Dor",
    "Dun",
    "Eld",
    "Fen",
    "Gal",
    "Gor",
    "Hal",
    "Hol",
    "Ing",
    "Jar",
    "Kar",
    "Kel",
    "Lin",
    "Lor",
    "Mar",
    "Mor",
    "Nar",
    "Nel",
    "Pel",
    "Por",
    "Ros",
    "Ruv",
    "Sel",
    "Sul",
    "Tam",
    "Tor",
    "Val",
    "Wen",
]
_TAILS = [
    "ado",
    "beck",
    "cester",
    "dale",
    "field",
    "gate",
    "haven",
    "ista",
    "ley",
    "mont",
    "nova",
    "port",
    "ruck",
    "stad",
    "tina",
    "wick",
]
_RIVERS = ["Arven", "Belka", "Cerno", "Dovra", "Elsin", "Farna", "Gotha", "Hirva", "Isola", "Juno"]
_THINGS = {
    "en": ["bridges", "markets", "gardens", "libraries", "theatres", "workshops", "harbours", "schools"],
    "de": ["Brücken", "Märkte", "Gärten", "Bibliotheken", "Theater", "Werkstätten", "Häfen", "Schulen"],
    "es": ["puentes", "mercados", "jardines", "bibliotecas", "teatros", "talleres", "puertos", "escuelas"],
    "ru": ["мосты", "рынки", "сады", "библиотеки", "театры", "мастерские", "гавани", "школы"],
    "ar": ["الجسور", "الأسواق", "الحدائق", "المكتبات", "المسارح", "الورش", "الموانئ", "المدارس"],
    "hi": ["पुल", "बाज़ार", "बाग़", "पुस्तकालय", "रंगमंच", "कार्यशालाएँ", "बंदरगाह", "विद्यालय"],
    "zh": ["桥梁", "市场", "花园", "图书馆", "剧院", "作坊", "港口", "学校"],
}
_QUERIES = {
    "en": ["when was {name} founded", "which river flows through {name}", "what is {name} known for"],
    "de": ["wann wurde {name} gegründet", "welcher Fluss fließt durch {name}", "wofür ist {name} bekannt"],
    "es": ["cuándo se fundó {name}", "qué río pasa por {name}", "por qué es conocida {name}"],
    "ru": ["когда основан город {name}", "какая река течёт через {name}", "чем известен город {name}"],
    "ar": ["متى تأسست مدينة {name}", "أي نهر يمر عبر {name}", "بماذا تشتهر {name}"],
    "hi": ["{name} की स्थापना कब हुई", "{name} से कौन सी नदी बहती है", "{name} किसके लिए प्रसिद्ध है"],
    "zh": ["{name}是什么时候建立的", "哪条河流经{name}", "{name}以什么闻名"],
}
_PASSAGES = {
    "en": "{name} lies on the river {river}. It was founded in {year}, has about {people} people and is known for its "
    "{thing}.",
    "de": "{name} liegt am Fluss {river}. Die Stadt wurde {year} gegründet, hat rund {people} Einwohner und ist für "
    "{thing} bekannt.",
    "es": "{name} está a orillas del río {river}. Se fundó en {year}, tiene unos {people} habitantes y es conocida "
    "por sus {thing}.",
    "ru": "{name} стоит на реке {river}. Город основан в {year} году, в нём около {people} жителей, известны его "
    "{thing}.",
    "ar": "تقع {name} على نهر {river}. تأسست عام {year} ويسكنها نحو {people} نسمة وتشتهر بـ {thing}.",
    "hi": "{name} नदी {river} के किनारे बसा है। इसकी स्थापना {year} में हुई, यहाँ लगभग {people} लोग रहते हैं और यह {thing} के लिए "
    "प्रसिद्ध है।",
    "zh": "{name}位于{river}河畔，建于{year}年，约有{people}名居民，以{thing}闻名。",
}
_NEWS = (
    "The council of {name} met on Monday to speak about the {thing} of the town.",
    "People who live near the {river} said that the plans were made too fast.",
    "A report of {year} had warned that {people} households would need help.",
    "Nobody in {name} expected the work to end before the winter.",
    "The mayor promised to ask every street, and to print what was said.",
)


@dataclass(frozen=True)
class Town:
    """One invented town; `number` decides everything about it."""

    number: int

    def say(self, template: str, lang: str = "en") -> str:
        """The template with this town's facts in it."""
        return template.format(
            name=self.name,
            river=self.river,
            year=self.year,
            people=1_000 + 37 * self.number,
            thing=_THINGS[lang][(3 * self.number) % 8],
        )

    @property
    def name(self) -> str:
        return _HEADS[self.number % 32] + _TAILS[(self.number // 32 + 5 * self.number) % 16]

    @property
    def river(self) -> str:
        return _RIVERS[(7 * self.number + self.number // 10) % 10]

    @property
    def year(self) -> int:
        return 800 + (61 * self.number) % 1_000

    def query(self, kind: int, lang: str = "en") -> str:
        return self.say(_QUERIES[lang][kind % 3], lang)

    def passage(self, lang: str = "en") -> str:
        return self.say(_PASSAGES[lang], lang)

    def answer(self, kind: int) -> str:
        return (str(self.year), self.river, _THINGS["en"][(3 * self.number) % 8])[kind % 3]

    def article(self, sentences: int) -> str:
        """A long text with this town's passage in its middle."""
        filler = [Town(self.number + i % 3).say(_NEWS[i % len(_NEWS)]) for i in range(sentences)]
        return " ".join([*filler[: sentences // 2], self.passage(), *filler[sentences // 2 :]])


SHARED = Town(160)  # natural_questions and yahoo_answers both have a pair of it


def towns(first: int, count: int) -> list[Town]:
    """Towns by number: sources that take other numbers share no pair."""
    return [Town(number) for number in range(first, first + count)]


def make(
    cache: HubCache,
    ids: Sequence[str] | None = None,
    commits: Mapping[str, str] | None = None,
    plant: Sequence[Mapping[str, str]] = (),
) -> dict[str, Path]:
    """Puts data sets into a cache.

    Args:
        cache: Where to.
        ids: Adapters, of `ADAPTERS`; all if None.
        commits: repository -> commit. Else the one that the adapter pins, else a made-up one.
        plant: Rows to be added, `{source: adapter, query, passage, lang?}`; of mMARCO in one language, or in English
            and, with the same texts, in no other.

    Returns:
        adapter -> the snapshot's folder.
    """
    made: dict[str, Path] = {}
    for adapter in ADAPTERS if ids is None else ids:
        planted = [row for row in plant if row["source"] == adapter]
        repo, revision = _pinned(adapter)
        files = dict(_FILES[adapter](planted) if adapter in _FILES else _entity_questions(planted))
        commit = (commits or {}).get(repo) or (revision if len(revision) == 40 else commit_of(repo))
        refs = ("main", CONVERTED) if revision == CONVERTED else ("main",)
        made[adapter] = cache.add(repo, files, kind="dataset", commit=commit, refs=refs)
    return made


def _pinned(adapter: str) -> tuple[str, str]:
    if adapter == "mmarco":
        return REPO, REVISION
    if adapter == "entity_questions":
        return ENTITY_QUESTIONS, "main"
    return DATA_SETS[adapter].repo, DATA_SETS[adapter].revision


def _parquet(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return sink.getvalue()


def _card(configs: Mapping[str, Mapping[str, str]]) -> bytes:
    """A card whose head declares configuration -> split -> files."""
    declared = [
        {"config_name": config, "data_files": [{"split": split, "path": path} for split, path in splits.items()]}
        for config, splits in configs.items()
    ]
    return f"---\n{yaml.safe_dump({'configs': declared})}---\n# A stand-in\n".encode()


def _texts(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


def _wiki_qa(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    schema = pa.schema([*_texts("question_id", "question", "document_title", "answer"), ("label", pa.int64())])
    for part, split in enumerate(("train", "validation", "test")):
        rows = []
        for i, town in enumerate(towns(20 * part, 20)):
            sentences = town.article(4).split(". ")
            right = next(s for s in sentences if "founded in" in s)
            for sentence in sentences if i % 4 else [s for s in sentences if s != right]:  # a quarter has no answer
                label = int(sentence == right)
                rows.append((f"Q{20 * part + i}", town.query(0), town.name, sentence.strip(".") + ".", label))
        if split == "train":
            rows += [(f"P{i}", row["query"], "planted", row["passage"], 1) for i, row in enumerate(planted)]
        content = [dict(zip(schema.names, row, strict=True)) for row in rows]
        yield f"default/wiki_qa-{split}.parquet", _parquet(content, schema)


def _mr_tydi(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    rows = [(t.query(1), t.passage(), other.passage()) for t in towns(60, 40) for other in towns(t.number + 1, 3)]
    rows += [(row["query"], row["passage"], Town(1).passage()) for row in planted]
    schema = pa.schema(_texts("anchor", "positive", "negative"))
    content = [dict(zip(schema.names, row, strict=True)) for row in rows]
    yield "README.md", _card({"en-triplet": {"train": "en-triplet/train-*"}, "ar-triplet": {"train": "ar-triplet/*"}})
    yield "en-triplet/train-00000-of-00001.parquet", _parquet(content, schema)


def _duorc(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    schema = pa.schema(
        [
            *_texts("plot_id", "plot", "title", "question_id", "question"),
            ("answers", pa.list_(pa.string())),
            ("no_answer", pa.bool_()),
        ]
    )
    rows: list[tuple[Any, ...]] = []
    for town in towns(100, 30):
        plot = town.article(24)
        rows += [
            (f"/m/{town.number}", plot, town.name, f"{town.number}-{k}", town.query(k), [town.answer(k)], False)
            for k in (0, 1)
        ]
        rows.append((f"/m/{town.number}", plot, town.name, f"{town.number}-n", f"who sang in {town.name}", [], True))
    rows.append(("/m/x", Town(100).article(24), "x", "x", "what was never said", ["zyzzyva"], False))
    rows += [(f"/m/p{i}", row["passage"], "", f"p{i}", row["query"], ["the"], False) for i, row in enumerate(planted)]
    content = [dict(zip(schema.names, row, strict=True)) for row in rows]
    splits = {split: f"SelfRC/{split}-*" for split in ("train", "validation", "test")}  # of which one is here
    yield "README.md", _card({"ParaphraseRC": {"train": "ParaphraseRC/train-*"}, "SelfRC": splits})
    yield "SelfRC/train-00000-of-00001.parquet", _parquet(content, schema)


def _newsqa(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    # unverified: the type of `labels`; it is not read.
    schema = pa.schema([*_texts("context", "question"), ("answers", pa.list_(pa.string())), *_texts("key")])
    rows: list[tuple[Any, ...]] = [
        (town.article(30), town.query(kind), [town.answer(kind)], f"{town.number}-{kind}")
        for town in towns(130, 30)
        for kind in (1, 2)
    ]
    rows += [(row["passage"], row["query"], [row["passage"].split()[0]], "planted") for row in planted]
    content = [dict(zip(schema.names, row, strict=True)) for row in rows]
    yield "README.md", b"---\ndataset_info:\n  splits: []\n---\n"  # it declares no files
    yield "data/train-00000-of-00001-ec54fbe500fc3b5c.parquet", _parquet(content, schema)
    yield "data/validation-00000-of-00001-3cf888b12fff1dd6.parquet", _parquet(content[:4], schema)


def _pairs(path: str, columns: tuple[str, str], first: int, count: int) -> Any:
    """A data set of rows that are pairs already, with a duplicate, a row too short, an empty one, and a shared one."""

    def files(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
        rows = [(town.query(kind), town.passage()) for kind, town in enumerate(towns(first, count))]
        rows += [
            (SHARED.query(0), SHARED.passage()),
            rows[0],
            (rows[1][0].upper() + "?", rows[1][1]),
            ("what is this", "No."),
            ("who asks", ""),
        ]
        rows += [(row["query"], row["passage"]) for row in planted]
        config, name = path.split("/")
        yield "README.md", _card({config: {"train": f"{config}/{name.split('-')[0]}-*"}})
        yield path, _parquet([dict(zip(columns, row, strict=True)) for row in rows], pa.schema(_texts(*columns)))

    return files


def _mfaq(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    schema = pa.schema(
        [("domain_id", pa.int64()), ("pair_id", pa.int64()), *_texts("language", "domain", "question", "answer")]
    )
    rows = [
        (t.number, k, "en", f"{t.name.lower()}.example", t.query(k), t.passage())
        for t in towns(320, 25)
        for k in (0, 1, 2)
    ]
    rows += [(999, i, "en", "planted.example", row["query"], row["passage"]) for i, row in enumerate(planted)]
    content = [dict(zip(schema.names, row, strict=True)) for row in rows]
    for part in range(3):
        yield f"en_flat/mfaq-train-{part:05d}-of-00003.parquet", _parquet(content[part::3], schema)


def _squadshifts(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    spans = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
    schema = pa.schema([*_texts("id", "title", "context", "question"), ("answers", spans)])
    for part, config in enumerate(("amazon", "new_wiki", "nyt", "reddit")):
        rows = [
            {
                "id": f"{config}-{town.number}",
                "title": config,
                "context": town.article(2),
                "question": town.query(part),
                "answers": {"text": [town.answer(part)], "answer_start": [town.article(2).index(town.answer(part))]},
            }
            for town in towns(350 + 8 * part, 8)
        ]
        if config == "new_wiki":
            rows += [
                {
                    "id": f"planted-{i}",
                    "title": "",
                    "context": row["passage"],
                    "question": row["query"],
                    "answers": None,
                }
                for i, row in enumerate(planted)
            ]
        yield f"{config}/test/0000.parquet", _parquet(rows, schema)


def _entity_questions(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Questions on towns of natural_questions, so that its passages answer them; the last are answered nowhere."""
    for kind, relation in enumerate(("P571", "P206")):
        rows = [{"question": f"{t.query(kind).capitalize()}?", "answers": [t.answer(kind)]} for t in towns(160, 30)]
        rows.append({"question": f"Who lives in {relation}?", "answers": ["Nobody at all"]})
        yield f"dataset/train/{relation}.train.json", json.dumps(rows).encode("utf-8")


def _mmarco(planted: list[Mapping[str, str]]) -> Iterator[tuple[str, bytes]]:
    """40 questions with one positive each, five triples a pair; passages 0 to 79, a planted row's after them."""
    known = towns(400, 80)
    triples = [(1_000 + q, q, (q + 40 + n) % 80) for n in range(5) for q in range(40)]
    queries = {lang: {1_000 + q: known[q].query(q, lang) for q in range(40)} for lang in MMARCO_LANGUAGES}
    passages = {lang: {p: town.passage(lang) for p, town in enumerate(known)} for lang in MMARCO_LANGUAGES}
    for i, row in enumerate(planted):
        query_id, passage_id = 2_000 + i, 100 + i
        triples.append((query_id, passage_id, 0))
        for lang in MMARCO_LANGUAGES:
            here = row.get("lang", "en") == lang
            queries[lang][query_id] = row["query"] if here else Town(490 + i).query(i, lang)
            passages[lang][passage_id] = row["passage"] if here else Town(490 + i).passage(lang)
    yield TRIPLES, "".join(f"{q}\t{p}\t{n}\n" for q, p, n in triples).encode("utf-8")
    for lang in MMARCO_LANGUAGES:
        name = MMARCO_NAMES[lang]
        yield f"data/google/queries/train/{name}_queries.train.tsv", _tsv(queries[lang])
        yield f"data/google/collections/{name}_collection.tsv", _tsv(passages[lang])


def _tsv(texts: Mapping[int, str]) -> bytes:
    return "".join(f"{number}\t{text}\n" for number, text in texts.items()).encode("utf-8")


_FILES: dict[str, Any] = {
    "wiki_qa": _wiki_qa,
    "mr_tydi": _mr_tydi,
    "duorc": _duorc,
    "newsqa": _newsqa,
    "natural_questions": _pairs("pair/train-00000-of-00001.parquet", ("query", "answer"), 160, 80),
    "yahoo_answers": _pairs("title-question-answer-pair/train-00000-of-00001.parquet", ("question", "answer"), 240, 80),
    "mfaq": _mfaq,
    "squadshifts": _squadshifts,
    "mmarco": _mmarco,
}
