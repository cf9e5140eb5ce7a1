"""What the words of `polybatch measure` mean: models, benchmarks, and the configuration that they make."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_tiny_model

from polybatch.config.catalogue import catalogue
from polybatch.core.errors import ConfigError, DataError, PolybatchError
from polybatch.core.option_types import NAME_PATTERN
from polybatch.study.measured import config_of, to_yaml
from polybatch.study.measured_benchmarks import parse_benchmark, parse_benchmarks
from polybatch.study.measured_models import parse_model, parse_models
from polybatch.study.named import name_of, split_name
from polybatch.study.resolve import resolve
from polybatch.study.snakefile import snakefile

ROOT = Path(__file__).parents[3]
# Times vary with what else the machine does; which words are tried does not.
few = settings(derandomize=True, deadline=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "My Model", prompts={"query": "q: ", "passage": "p: "})


def parallel(folder: Path, *, qrels: bool = True, languages: tuple[str, ...] = ("de", "en")) -> Path:
    """A benchmark in BEIR's layout with shared ids."""
    for lang in languages:
        (folder / lang).mkdir(parents=True)
        for side in ("corpus", "queries"):
            (folder / lang / f"{side}.jsonl").write_text('{"_id": "1", "text": "a"}\n', "utf-8")
    if qrels:
        (folder / "qrels").mkdir()
        (folder / "qrels/test.tsv").write_text("1\t1\t1\n", "utf-8")
    return folder


@few
@given(st.text(max_size=300))
def test_a_name_is_one_that_folders_can_carry_or_is_refused(text: str) -> None:
    try:
        name = name_of(text)
    except ConfigError:
        assert not re.search(r"[a-z0-9]", text.lower())
    else:
        assert re.fullmatch(NAME_PATTERN.strip("^$"), name) and len(name) <= 150
        assert name_of(name) == name


@few
@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_any_word_is_a_model_or_a_fault_of_ours(word: str) -> None:
    try:
        found = parse_model(word, {})
    except PolybatchError:
        return
    assert re.fullmatch(NAME_PATTERN.strip("^$"), found.name)


def test_a_folder_an_id_and_a_name_of_the_catalogue(model: Path) -> None:
    assert parse_model(str(model), {}).entry == {"path": str(model)}
    assert parse_model(str(model), {}).name == "my-model"
    assert parse_model(f"mine={model}", {}).name == "mine"
    hub = parse_model("org/Some-Model@refs/pr/4", {})
    assert (hub.name, hub.entry) == ("some-model-refs-pr-4", {"model": "org/Some-Model", "revision": "refs/pr/4"})
    known = parse_model("e5-small", {})
    assert (known.name, known.entry) == ("e5-small", {})
    other = parse_model("fast=e5-small", {})
    assert other.entry == catalogue()["encoders"]["e5-small"]


def test_a_name_is_told_from_a_path_with_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_name("a=b") == ("a", "b")
    (tmp_path / "a=b").mkdir()
    assert split_name("a=b") == ("", "a=b")
    assert split_name("./x=y") == ("", "./x=y")


def test_a_folder_that_is_called_like_an_encoder_of_the_catalogue_is_told(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, "e5-small")
    assert "write ./e5-small" in parse_model("e5-small", {}).notes[0]
    assert parse_model("./e5-small", {}).entry == {"path": str(tmp_path / "e5-small")}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nowhere", "nowhere is no model"),
        ("e5-smal", "did you mean e5-small?"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("a/b/c", "there is no folder a/b/c"),
        ("org/model@", "nothing behind @"),
        ("org/mo del", "is no id of the hub"),
        ("here/mine", "there is no folder here/mine"),
        ("empty", "There is no model in the folder"),
    ],
)
def test_what_is_no_model_is_told(word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("here", "empty"):
        (tmp_path / name).mkdir()
    with pytest.raises(PolybatchError, match=re.escape(told)):
        parse_model(word, {})


def test_two_models_of_one_name_are_told_with_the_way_out(model: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("my-model-2=x/my-model")):
        parse_models([str(model), "x/my-model"], {})
    assert len(parse_models([str(model), "other=x/my-model"], {})) == 2


def test_code_and_pickles_of_a_folder_are_refused_before_anything_runs(model: Path, tmp_path: Path) -> None:
    with_code = shutil.copytree(model, tmp_path / "code")
    config = json.loads((with_code / "config.json").read_text("utf-8"))
    config |= {"model_type": "of-its-own", "auto_map": {"AutoModel": "modeling_own.Own"}}
    (with_code / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ConfigError, match="only with code of its own"):
        parse_model(str(with_code), {})
    pickled = shutil.copytree(model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled"):
        parse_model(str(pickled), {})


def test_a_plain_transformer_needs_its_pooling(model: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(model, tmp_path / "plain")
    (plain / "modules.json").unlink()
    with pytest.raises(ConfigError, match="--pooling"):
        parse_model(str(plain), {})
    assert parse_model(str(plain), {"pooling": "mean"}).entry["options"] == {"pooling": "mean"}


def test_prompts_that_are_not_known_are_told_and_not_guessed(model: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(model, tmp_path / "my-e5-tuned")
    settings = bare / "config_sentence_transformers.json"
    stated = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps(stated | {"prompts": {}}), "utf-8")
    found = parse_model(str(bare), {})
    assert "none are used" in found.notes[0] and "options" not in found.entry
    assert not parse_model(str(bare), {"query_prompt": "", "passage_prompt": ""}).notes
    settings.write_text(json.dumps(stated | {"prompts": {"web": "find: "}}), "utf-8")
    with pytest.raises(ConfigError, match="--query-prompt"):
        parse_model(str(bare), {})
    assert parse_model("org/e5-tuned", {}).notes
    assert not parse_model("intfloat/multilingual-e5-base", {}).notes, "its prompts are known"


def test_options_are_for_one_model(model: Path) -> None:
    options = {"query_prompt": "find: ", "passage_prompt": ""}
    both = parse_models(["labse", str(model)], options)
    assert [one.entry.get("options") for one in both] == [None, options]
    for words in (["labse"], [str(model), "org/other"]):
        with pytest.raises(ConfigError, match="which model the options are for"):
            parse_models(words, options)


def test_a_parallel_folder_is_measured_in_all_settings(tmp_path: Path) -> None:
    folder = parallel(tmp_path / "support")
    found = parse_benchmark(str(folder), [], 400)
    assert found.entry == {"adapter": "beir", "path": str(folder), "languages": ["de", "en"]}
    assert parse_benchmark(f"mine={folder}", ["en"], 400).entry["languages"] == ["en"]


def test_judgements_inside_of_each_language_say_nothing_across_them(tmp_path: Path) -> None:
    folder = parallel(tmp_path / "support", qrels=False)
    for lang in ("de", "en"):
        (folder / lang / "qrels").mkdir()
        (folder / lang / "qrels/test.tsv").write_text("1\t1\t1\n", "utf-8")
    found = parse_benchmark(str(folder), [], 400)
    assert found.entry["settings"] == ["monolingual"] and "only searching within a language" in found.notes[0]


def test_queries_in_some_languages_over_passages_in_all(tmp_path: Path) -> None:
    folder = parallel(tmp_path / "support", languages=("de", "en", "fr"))
    (folder / "fr/queries.jsonl").unlink()
    (folder / "de/corpus.jsonl").unlink()
    found = parse_benchmark(str(folder), [], 400)
    assert (found.entry["languages"], found.entry["corpus_languages"]) == (["de", "en"], ["en", "fr"])


def test_what_is_no_benchmark_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parallel(tmp_path / "bare", qrels=False)
    parallel(tmp_path / "good")
    parallel(tmp_path / "one", languages=("en",))
    (tmp_path / "one/corpus.jsonl").write_text("", "utf-8")
    shutil.rmtree(tmp_path / "one/en")
    (tmp_path / "empty").mkdir()
    cases = [
        ("bare", [], "no judgements"),
        ("good", ["fr"], "no queries in fr"),
        ("one", [], "--languages with the one language"),
        ("empty", [], "no benchmark in the folder"),
        ("xquadr", [], "did you mean xquad-r?"),
        ("xquad-r", ["ja"], "no queries in ja"),
        ("belebele", [], "--languages en de"),
        ("mine=xquad-r", [], "keeps its name"),
    ]
    for word, languages, told in cases:
        with pytest.raises(PolybatchError, match=re.escape(told)):
            parse_benchmark(word, languages, 400)
    with pytest.raises(ConfigError, match="Unknown language 'xx'"):
        parse_benchmarks(["xquad-r"], ["xx"], 400)
    with pytest.raises(ConfigError, match="Two benchmarks are called good"):
        parse_benchmarks(["good", "./good"], [], 400)


def squad(folder: Path, lang: str, *, breaks: bool) -> None:
    folder.mkdir(exist_ok=True)
    paragraph = {"context": "A.", "qas": [], **({"sentence_breaks": [[0, 2]]} if breaks else {})}
    (folder / f"{lang}.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), "utf-8")


def test_files_of_a_published_benchmark_are_held_against_it(tmp_path: Path) -> None:
    for name in ("xquad-r", "other"):
        for lang in ("de", "en"):
            squad(tmp_path / name, lang, breaks=True)
    found = parse_benchmark(str(tmp_path / "xquad-r"), [], 400)
    assert (found.name, found.entry) == ("xquad-r", {"path": str(tmp_path / "xquad-r"), "languages": ["de", "en"]})
    named = parse_benchmark(f"xquad-r={tmp_path / 'other'}", ["de"], 400)
    assert named.entry == {"path": str(tmp_path / "other"), "languages": ["de"]}
    other = parse_benchmark(str(tmp_path / "other"), [], 400)
    assert other.entry["adapter"] == "lareqa"
    squad(tmp_path / "split", "en", breaks=False)
    assert parse_benchmark(str(tmp_path / "split"), [], 400).entry["adapter"] == "mlqa"


def test_a_damaged_archive_of_a_benchmark_is_told(tmp_path: Path) -> None:
    """What zlib raises in the middle of a file is no OSError."""
    squad(tmp_path / "mine", "en", breaks=True)
    whole = gzip.compress((tmp_path / "mine/en.json").read_bytes() * 1000)
    (tmp_path / "mine/en.json").unlink()
    (tmp_path / "mine/en.json.gz").write_bytes(whole)
    assert parse_benchmark(str(tmp_path / "mine"), [], 400).entry["adapter"] == "lareqa"
    (tmp_path / "mine/en.json.gz").write_bytes(whole[:12] + b"\xff" * 20 + whole[32:])
    with pytest.raises(DataError, match=r"(?s)damaged.*en\.json\.gz"):
        parse_benchmark(str(tmp_path / "mine"), [], 400)


def test_a_language_that_is_named_twice_is_measured_once(tmp_path: Path) -> None:
    (found,) = parse_benchmarks([str(parallel(tmp_path / "mine"))], ["de", "en", "de"], 400)
    assert found.languages == ("de", "en") and found.entry["languages"] == ["de", "en"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("mine.csv", "", "holds no row"),
        ("mine.csv", "query,passage,lang\n", "holds no row"),
        ("mine.jsonl", "\n", "holds no row"),
        ("mine.json", '{"data": []}', "holds no row"),
        ("mine.jsonl", '[1]\n"x"\n', r"(?s)No row of the file can be read.*line 1: no JSON object: '\[1\]'"),
        ("mine.jsonl", '{"lang": "EN"}\n{"lang": "de-DE"}\n', r"(?s)language that is known.*'EN', 'de-DE'"),
    ],
)
def test_a_file_of_pairs_that_nothing_can_be_measured_on_is_told_by_what_it_holds(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(DataError, match=told):
        parse_benchmark(str(tmp_path / name), [], 400)
    with pytest.raises(DataError, match=told):
        parse_benchmark(str(tmp_path / name), ["de"], 400)


def test_a_file_of_pairs_is_held_out_text(tmp_path: Path) -> None:
    rows = [{"group": "1", "lang": lang, "query": "a", "passage": "b"} for lang in ("en", "fr", "de")]
    path = tmp_path / "faq.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = config_of(parse_models(["labse"], {}), parse_benchmarks([str(path)], [], 50), "mine")
    resolved = resolve(config)
    assert resolved["collection"] == "measured-faq"
    assert resolved["split"]["parallel_in"] == ["de", "fr"] and resolved["split"]["test_passages"] == 50
    assert resolved["languages"] == {"evaluate": ["en", "de", "fr"], "train": []}


def test_the_configuration_that_is_written_is_whole_and_its_own(model: Path, tmp_path: Path) -> None:
    folder = parallel(tmp_path / "support")
    models, benchmarks = parse_models([str(model), "e5-small"], {}), parse_benchmarks([str(folder), "xquad-r"], [], 9)
    config = config_of(models, benchmarks, "mine")
    text = to_yaml(config, ["polybatch", "measure", "a\nb"], Path("Snakefile"), "results/mine.yaml")
    assert yaml.safe_load(text) == config
    assert "--configfile results/mine.yaml" in text
    resolved = resolve(config)
    assert resolved["study"]["reference"] == "my-model"
    assert list(resolved["encoders"]) == ["e5-small", "my-model"] or set(resolved["encoders"]) == {
        "my-model",
        "e5-small",
    }
    assert resolved["standalone"] and resolved["collection"] == "measured"


def test_the_project_is_found_from_its_folder_and_from_an_editable_installation(tmp_path: Path) -> None:
    package = ROOT / "workflow/polybatch"
    assert snakefile(ROOT, tmp_path) == snakefile(tmp_path, package) == ROOT / "Snakefile"
    (tmp_path / "Snakefile").touch()  # of another workflow
    with pytest.raises(ConfigError, match="pip install --editable"):
        snakefile(tmp_path, tmp_path / "site-packages/polybatch")
