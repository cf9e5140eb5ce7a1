"""Decontamination: pairs are looked up in every language that they have, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polybatch.core.contracts import COLLECTED, CONTAMINATED, CORPUS, DOCUMENTS, PARALLEL, QRELS, QUERIES, TRANSLATED
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, read_parquet, write_rows
from polybatch.decontaminate import contaminated, evaluation_text
from polybatch.pairs import parallel
from polybatch.tables import data

GERMAN = "Die alte Steinbrücke über den Fluss wurde im Frühjahr 1842 von einer Zunft von Maurern fertiggestellt."
GERMAN_EDITED = "Die alte Steinbrücke über den Fluss wurde im Frühjahr 1842 von einer Gruppe Maurer fertiggestellt."
ENGLISH = "The old stone bridge across the river was finished in the spring of 1842 by a guild of masons."
REPHRASED = "Masons completed their work on the ancient crossing that spring, as the town's chronicle of 1842 says."
HARBOUR = "The harbour froze for eleven weeks in the winter of 1709 and no ship could leave before the end of March."
HARBOUR_QUERY = "How long was the harbour frozen in the winter of 1709?"
LIGHTHOUSE = "A keeper and his family lived in the lighthouse on the northern rock until the lamp became electric."
UNRELATED = "Bread made of rye keeps for a week if it is wrapped in linen and stays in a cool and dry place."


def benchmark(folder: Path, texts: dict[str, tuple[str, str]], document: str = "") -> None:
    """A benchmark of one query and one passage in each language."""
    for lang, (query, passage) in texts.items():
        queries = [{"query_id": f"{lang}-q", "lang": lang, "text": query, "group": "g", "answers": []}]
        write_rows(folder / "queries" / f"{lang}.parquet", queries, QUERIES)
        corpus = [{"passage_id": f"{lang}-p", "lang": lang, "text": passage, "group": "g"}]
        write_rows(folder / "corpus" / f"{lang}.parquet", corpus, CORPUS)
    if document:
        rows = [{"document_id": "en-d", "lang": "en", "text": document}]
        write_rows(folder / "documents" / "en.parquet", rows, DOCUMENTS)
    judged = [{"query_id": f"{lang}-q", "passage_id": f"{lang}-p", "relevance": 1} for lang in texts]
    write_rows(folder / "qrels.parquet", judged, QRELS)


def english(pair_id: str, query: str, passage: str, split: str = "train", negatives: tuple[str, ...] = ()) -> dict:
    return {
        "pair_id": pair_id, "source": "web", "query": query, "passage": passage, "hard_negatives": list(negatives),
        "license": "", "split": split, "kind": "parallel",
    }  # fmt: skip


def supplied(pair_id: str, query: str, passage: str) -> dict:
    return {
        "pair_id": pair_id, "source": "web", "origin": "supplied", "query": query, "passage": passage,
        "hard_negatives": [],
    }  # fmt: skip


PAIRS = [
    english("clean", "How long does rye bread keep?", UNRELATED),
    # Only the German text gives it away.
    english("german", "Since when can one cross there?", REPHRASED),
    # The benchmark is evaluated in French; its English text is at hand.
    english("original", "Why did no ship leave before spring?", HARBOUR.replace("eleven", "twelve")),
    english("query", "how long was the harbour frozen, in the winter of 1709", UNRELATED + " So they say."),
    english("document", "Who lived on the rock?", LIGHTHOUSE),
    english("negative", "What is a bridge made of?", UNRELATED + " Or so.", negatives=(UNRELATED, ENGLISH)),
    # A German evaluation text stands among the Turkish translations.
    english("misfiled", "Where does one put rye bread?", UNRELATED + " They do say so."),
    english("held-out", "Which bridge is that?", ENGLISH, split="test"),
]
GERMAN_PAIRS = [
    supplied("clean", "Wie lange hält Roggenbrot?", "Brot aus Roggen hält in Leinen eine Woche, wenn es kühl liegt."),
    supplied("german", "Seit wann kann man dort hinüber?", GERMAN_EDITED),
    supplied(
        "original", "Warum fuhr kein Schiff?", "Im Winter lag der Hafen so lange unter Eis, dass niemand auslief."
    ),
    supplied("held-out", "Welche Brücke ist das?", GERMAN),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a collection after the decontamination."""
    base = tmp_path_factory.mktemp("decontaminate")
    benchmark(base / "benchmarks" / "bridge", {"de": ("Wann war die Brücke fertig?", GERMAN)})
    benchmark(
        base / "benchmarks" / "bridge-en",
        {"en": ("When was the bridge done?", ENGLISH)},
        document=f"{UNRELATED[:40]} and much else. {LIGHTHOUSE} That was long ago.",
    )
    french = ("Combien de temps le port fut-il gelé ?", "Le port resta gelé pendant onze semaines de l'hiver 1709.")
    benchmark(base / "benchmarks" / "harbour", {"fr": french, "en": (HARBOUR_QUERY, HARBOUR)})
    write_rows(base / "collected" / "en.parquet", PAIRS, COLLECTED)
    write_rows(base / "supplied" / "de.parquet", GERMAN_PAIRS, PARALLEL)
    turkish = [
        supplied("clean", "Çavdar ekmeği ne kadar dayanır?", "Çavdar ekmeği serin ve kuru yerde bir hafta dayanır."),
        supplied("misfiled", "Çavdar ekmeği nereye konur?", GERMAN),
    ]
    write_rows(base / "supplied" / "tr.parquet", turkish, PARALLEL)
    validation = [
        english("valid", "Who lived there?", LIGHTHOUSE, split=""),
        english("fine", "Rye?", UNRELATED, split=""),
    ]
    write_rows(base / "collected" / "sources" / "own.parquet", validation, COLLECTED)
    look_up(base)
    return base


def index(base: Path, output: Path, **options: object) -> dict:
    folders = [str(base / "benchmarks" / name) for name in ("bridge", "bridge-en", "harbour")]
    evaluation_text.main(["--benchmarks", *folders, "--options", json.dumps(options), "--output", str(output)])
    return read_json(output / "index.json")


def look_up(base: Path) -> None:
    folder = base / "decontamination"
    index(base, folder / "text")
    flags = ["--text", folder / "text", "--collected", base / "collected" / "en.parquet"]
    flags += ["--supplied", *(f"{lang}={base}/supplied/{lang}.parquet" for lang in ("de", "tr"))]
    flags += ["--validation", base / "collected" / "sources" / "own.parquet", "--output", folder / "pairs.parquet"]
    contaminated.main([str(flag) for flag in flags])


@pytest.fixture(scope="module")
def found(base: Path) -> dict[str, dict]:
    rows = read_parquet(base / "decontamination" / "pairs.parquet", CONTAMINATED).to_pylist()
    by_pair = {row["pair_id"]: row for row in rows}
    assert len(by_pair) == len(rows), "each of these pairs overlaps in one text"
    return by_pair


def test_a_pair_is_found_by_its_german_text_alone(found: dict[str, dict]) -> None:
    row = found["german"]
    assert (row["lang"], row["side"], row["overlap"]) == ("de", "passage", "ngram")
    assert (row["benchmark"], row["text_id"], row["source"]) == ("bridge", "de-p", "web")
    assert 0.5 <= row["share"] < 1.0


def test_a_pair_is_found_by_the_english_original_of_text_evaluated_in_another_language(found: dict[str, dict]) -> None:
    assert (found["original"]["lang"], found["original"]["overlap"]) == ("en", "ngram")
    assert (found["original"]["benchmark"], found["original"]["text_id"]) == ("harbour", "en-p")


def test_queries_documents_and_hard_negatives_count(found: dict[str, dict]) -> None:
    assert {name: (found[name]["side"], found[name]["overlap"], found[name]["text_id"]) for name in
            ("query", "document", "negative")} == {
        "query": ("query", "normalised", "en-q"),
        "document": ("passage", "ngram", "en-d"),
        "negative": ("hard negative", "exact", "en-p"),
    }  # fmt: skip


def test_held_out_and_other_pairs_are_left_alone_and_validation_pairs_are_looked_up(found: dict[str, dict]) -> None:
    assert set(found) == {"german", "original", "query", "document", "negative", "misfiled", "valid"}


def test_a_whole_text_is_found_in_another_language_than_its_own(found: dict[str, dict]) -> None:
    row = found["misfiled"]
    assert (row["lang"], row["side"], row["overlap"], row["text_id"]) == ("tr", "passage", "exact", "de-p")


def test_what_was_found_is_in_no_language_of_the_training_text(base: Path, tmp_path: Path) -> None:
    def ids(lang: str, *flags: str) -> set[str]:
        output = tmp_path / f"{lang}.parquet"
        known = [
            "--collected",
            f"{base}/collected/en.parquet",
            "--contaminated",
            f"{base}/decontamination/pairs.parquet",
        ]
        parallel.main([*known, "--lang", lang, *flags, "--output", str(output)])
        return set(read_parquet(output, PARALLEL)["pair_id"].to_pylist())

    assert ids("en") == {"clean"}
    assert ids("de", "--supplied", f"{base}/supplied/de.parquet") == {"clean"}


def test_paraphrases_are_compared_with_english_evaluation_text_and_held_out_text(base: Path, tmp_path: Path) -> None:
    fine = ("How long does bread stay fresh?", UNRELATED)
    leaking = {
        "p-passage": ("A question of its own", ENGLISH.replace("a guild of", "some")),
        "p-query": (HARBOUR_QUERY.upper(), UNRELATED),
        "p-held": ("What is kept back?", UNRELATED),
        "p-dev": (fine[0], "A passage that decides when to stop."),
        "p-fine": fine,
    }
    pairs = [english(i, f"Question of {i}?", f"A passage about {i}.") | {"kind": "english_only"} for i in leaking]
    pairs += [english("h", "What is kept back", "Something else.", split="test")]
    pairs += [english("d", "Which?", "A passage that decides when to stop", split="dev")]
    write_rows(tmp_path / "en.parquet", pairs, COLLECTED)
    rows = [
        {"pair_id": i, "source": "web", "query": "q", "passage": "p", "query_back": query, "passage_back": passage,
         "query_chrf": 50.0, "passage_chrf": 50.0, "accepted": True, "reason": "accepted", "hard_negatives": []}
        for i, (query, passage) in leaking.items()
    ]  # fmt: skip
    write_rows(tmp_path / "de.parquet", rows, TRANSLATED)

    def taken(*flags: str) -> set[str]:
        parallel.main([*("--collected", str(tmp_path / "en.parquet"), "--lang", "en", *flags),
                       *("--output", str(tmp_path / "out.parquet"))])  # fmt: skip
        return {row["pair_id"] for row in read_parquet(tmp_path / "out.parquet", PARALLEL).to_pylist()}

    paraphrases = ["--paraphrase", str(tmp_path / "de.parquet"), "--translated-all", str(tmp_path / "de.parquet")]
    assert taken(*paraphrases) == {"p-passage", "p-query", "p-fine"}
    assert taken(*paraphrases, "--evaluation-text", str(base / "decontamination" / "text")) == {"p-fine"}
    assert taken() == set(leaking), "the pairs stay"
    with pytest.raises(ConfigError, match="Only paraphrases"):
        taken("--evaluation-text", str(base / "decontamination" / "text"))


def test_statistics_tell_what_was_looked_up_and_why_pairs_went(base: Path, found: dict[str, dict]) -> None:
    record = read_json(base / "decontamination" / "pairs.json")
    assert record["checked"] == {"web": 9} and record["removed"] == {"web": 7}
    assert record["looked_up"] == {"en": 9, "de": 3, "tr": 2}
    assert record["without_evaluation_text"] == ["tr"]
    assert sum(one["texts"] for one in record["counts"]) == len(found)
    key = {"source": "web", "benchmark": "bridge", "lang": "de", "side": "passage", "overlap": "ngram"}
    assert {**key, "texts": 1} in record["counts"]
    example = next(one for one in record["examples"] if one["pair_id"] == "german")
    assert (example["training_text"], example["evaluation_text"]) == (GERMAN_EDITED, GERMAN)


def test_examples_are_few(base: Path, tmp_path: Path) -> None:
    copies = [english(f"copy {i}", f"Which bridge, {i}?", ENGLISH + "!" * i) for i in range(1, 9)]
    write_rows(tmp_path / "en.parquet", copies, COLLECTED)
    flags = ["--text", base / "decontamination" / "text", "--collected", tmp_path / "en.parquet"]
    contaminated.main([str(flag) for flag in [*flags, "--output", tmp_path / "pairs.parquet"]])
    record = read_json(tmp_path / "pairs.json")
    assert record["removed"] == {"web": 8} and len(record["examples"]) == 2


def test_the_index_tells_what_went_in(base: Path) -> None:
    texts = read_json(base / "decontamination" / "text" / "index.json")["texts"]
    assert sorted(texts) == ["de", "en", "fr"]
    assert texts["en"]["bridge-en"] == {"queries": 1, "passages": 1, "documents": 1, "by_ngrams": 3}


def test_of_a_large_corpus_the_relevant_passages_alone_are_compared_by_ngrams(base: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    benchmark(large, {"en": ("When was the bridge done?", ENGLISH)})
    corpus = [{"passage_id": name, "lang": "en", "text": text, "group": ""}
              for name, text in (("en-p", ENGLISH), ("other", HARBOUR))]  # fmt: skip
    write_rows(large / "corpus" / "en.parquet", corpus, CORPUS)
    output = tmp_path / "text"
    evaluation_text.main(
        ["--benchmarks", str(large), "--options", '{"max_ngram_passages": 1}', "--output", str(output)]
    )
    assert read_json(output / "index.json")["texts"]["en"]["large"]["by_ngrams"] == 2
    found = contaminated.Index.read(output, "en").find_many([ENGLISH[:-9], HARBOUR[:-9], HARBOUR.lower()], "passage")
    assert [match and (match.text_id, match.overlap) for match in found] == [
        ("en-p", "ngram"),
        None,
        ("other", "normalised"),
    ]


def test_a_benchmark_without_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no text to keep out"):
        evaluation_text.main(["--benchmarks", str(tmp_path / "empty"), "--output", str(tmp_path / "text")])
    assert not (tmp_path / "text").exists()


def test_dev_pairs_are_kept_clear_of_other_benchmarks_and_not_of_the_studys_own(tmp_path: Path) -> None:
    benchmark(tmp_path / "benchmarks" / "test", {"en": (HARBOUR_QUERY, HARBOUR), "de": ("Was?", GERMAN)})
    benchmark(tmp_path / "benchmarks" / "bridge", {"en": ("When was the bridge done?", ENGLISH), "de": ("Wo?", GERMAN)})
    rows = [
        english("train", "How long does rye bread keep?", UNRELATED),
        english("fine", "Who lived on the rock?", LIGHTHOUSE, split="dev"),
        english("english", "What bridge?", ENGLISH.replace("guild", "group"), split="dev"),
        english("german", "Since when can one cross there?", REPHRASED, split="dev"),
        english("own", "Why did no ship leave before spring?", HARBOUR.replace("eleven", "twelve"), split="dev"),
    ]
    write_rows(tmp_path / "en.parquet", rows, COLLECTED)
    write_rows(tmp_path / "de.parquet", [supplied("german", "Seit wann?", GERMAN)], PARALLEL)
    folders = [str(tmp_path / "benchmarks" / name) for name in ("test", "bridge")]
    output = tmp_path / "pairs.parquet"

    def removed(*flags: str) -> dict[str, tuple[str, str]]:
        files = ["--text", str(tmp_path / "text"), "--collected", str(tmp_path / "en.parquet")]
        files += ["--supplied", f"de={tmp_path / 'de.parquet'}", "--output", str(output)]
        contaminated.main([*files, *flags])
        return {
            row["pair_id"]: (row["lang"], row["benchmark"]) for row in read_parquet(output, CONTAMINATED).to_pylist()
        }

    evaluation_text.main(["--benchmarks", *folders, "--output", str(tmp_path / "text")])
    # The German passage stands in both benchmarks; that of the other one counts.
    assert removed("--held-out", "test") == {"english": ("en", "bridge"), "german": ("de", "bridge")}
    record = read_json(output.with_suffix(".json"))
    assert record["checked"] == {"web": 1, "web (validation)": 4}
    assert record["removed"] == {"web": 0, "web (validation)": 2}
    assert data.read_contamination(output.with_suffix(".json"))
    parallel.main(
        f"--collected {tmp_path}/en.parquet --lang en --split dev --contaminated {output} "
        f"--output {tmp_path}/validation.parquet".split()
    )
    kept = read_parquet(tmp_path / "validation.parquet", PARALLEL)["pair_id"].to_pylist()
    assert sorted(kept) == ["fine", "own"]

    # A study that is evaluated on its own held-out text alone looks no dev pair up.
    assert removed("--held-out", "test", "bridge") == {}
    assert read_json(output.with_suffix(".json"))["checked"] == {"web": 1}
