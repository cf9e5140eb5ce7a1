"""The commands of the rules: whatever a config says reaches its stage as one word, and no shell takes it for its own.

The commands of a dry run are given to bash, with what they call replaced by a function that writes down its words: so
it is bash that tells what a stage would be given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from toy_source import pairs

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources")
FOLDER = 'a folder\'s "name" $(touch pwned) & ;'
# What a shell would run, divide, expand or end a string at; in text also what Snakemake would take for a wildcard.
HOSTILE = "a $(touch pwned) `touch pwned`; touch pwned & 'b' \"c\" $HOME * { \\\ntouch pwned"
TEXT = f"{HOSTILE} {{d}}"
TARGETS = ("collect", "benchmarks", "decontaminate", "translators", "translate", "train", "index", "score", "report")
# Rules that stand in the workflow only where a source is fetched by them, and none is here.
CONDITIONAL = {"fetch_help"}
# All targets are asked for; these rules alone have no job here: they fetch, need a model of the hub, or divide embedding.
NOT_HERE = {*CONDITIONAL, "fetch_hub", "convert_hub_translator", "exposure", "encode_shard", "gather_embeddings"}
# Each word ends with a zero byte, each call with a byte 1.
RECORDING = 'python() { printf "%s\\0" python "$@" >> "$WORDS"; printf "\\1" >> "$WORDS"; }\nsnakemake() { :; }\n'
LETTER = "[a-z][a-z_]*"


class Command(NamedTuple):
    """A job's command as a dry run prints it."""

    rule: str
    log: str
    text: str


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def put_project(folder: Path) -> Path:
    folder.mkdir()
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    return folder


def toy(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load((ROOT / "tests/workflow/toy.yaml").read_text("utf-8")), **changes}


def commands(printed: str) -> Iterator[Command]:
    for block in re.split(r"\n\n(?=\s*\[)", printed):
        rule = re.search(r"^\s*(?:local)?rule (\w+):$", block, re.M)
        command = re.search(r"^Shell command: (.*?)(?=\n\n|\n\[|\nGroup job|\nJob stats|\Z)", block, re.M | re.S)
        if rule and command and command[1] != "None":
            log = re.search(r"^\s+log: (.*)$", block, re.M)
            yield Command(rule[1], log[1] if log else "", command[1])


def words_of(command: Command, folder: Path) -> list[list[str]]:
    """The words of every call of Python in a command, as bash divides them."""
    (folder / command.log).parent.mkdir(parents=True, exist_ok=True)
    words = folder / "words"
    words.unlink(missing_ok=True)
    script = f"set -euo pipefail\n{RECORDING}{command.text}\n"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "WORDS": "words"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stderr)
    text = words.read_text("utf-8") if words.exists() else ""
    return [call.removesuffix("\0").split("\0") for call in text.split("\1") if call]


def texts_in(word: str) -> Iterator[str]:
    """The word; without the language before its first =; and all text in it, if it is JSON."""
    yield word
    yield word.partition("=")[2]
    if word[:1] in ("{", "["):
        yield from leaves(json.loads(word))


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="module")
def hostile() -> dict[str, str]:
    """Key of the config -> a value of it that no other key has."""
    paths = ("source", "translator", "encoder", "benchmark")
    texts = ("license", "column", "prompt", "mark", "packed", "note")
    named = {**{key: f"{HOSTILE} {key}" for key in paths}, **{key: f"{TEXT} {key}" for key in texts}}
    return {**named, "factory": "IVF4(HNSW8),Flat"}  # as hostile as FAISS takes one


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, hostile: dict[str, str]) -> dict[str, list[list[str]]]:
    """Rule -> words of every call of Python, of a study whose config holds what a shell must not see."""
    folder = put_project(tmp_path_factory.mktemp("commands") / FOLDER)
    (folder / hostile["source"]).write_text("{}\n" * 50, "utf-8")  # as many rows as a projection needs
    shutil.copytree(ROOT / "resources/translators/homeassistant-de-es", folder / hostile["translator"])
    for key in ("encoder", "benchmark"):
        (folder / hostile[key]).mkdir()
    (folder / hostile["encoder"] / "config.json").write_text("{}", "utf-8")
    published = folder / f"{HOSTILE} published"
    shutil.copy(ROOT / "workflow/studies/published/lareqa2020.csv", published)
    translator = {"path": hostile["translator"]}
    source = {"path": hostile["source"], "name": "own", "format": "jsonl", "license": hostile["license"]}
    source["columns"] = {"query": hostile["column"], "passage": "answer", "lang": "lang", "group": "group"}
    study = toy(
        source=source,
        data_mark=hostile["mark"],
        index={"factory": hostile["factory"], "threads": 2},
        tables={"published": [published.name]},
        translator_training={"mine": {"directions": ["en-de", "de-en"]}},
    )
    study["study"] |= {"benchmarks": ["test", "folder", "translated"], "encoders": ["toy", "own", "packed"]}
    study["study"]["runs"] = [
        {"sampling": "untrained", "projections": ["centring"]},
        {"sampling": "x-y", "seeds": [1], "begin": ["lir"], "shares": [0.5], "projections": ["shift"]},
        *study["study"]["runs"],
    ]
    study["encoders"]["own"] = {"path": hostile["encoder"], "options": {"query_prompt": hostile["prompt"]}}
    packed = {"requirement": "tiny==1.0", "sha256": "0" * 64, "file": hostile["packed"], "note": hostile["note"]}
    study["encoders"]["packed"] = {"wheel": packed}
    study["benchmarks"] = {
        "folder": {"adapter": "beir", "path": hostile["benchmark"], "languages": ["en"]},
        "translated": {"queries_of": "folder", "translate": ["de"]},
    }
    study["translation"] |= {"translators": {"en-de": translator, "de-en": translator}, "paraphrases": "de"}
    (folder / "hostile.yaml").write_text(yaml.safe_dump(study), "utf-8")
    done = snakemake(folder, "-n", "-F", "--printshellcmds", *TARGETS, "plan", "--configfile", "hostile.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    sandbox = tmp_path_factory.mktemp("sandbox")
    found: dict[str, list[list[str]]] = {}
    for command in commands(done.stdout + done.stderr):
        found.setdefault(command.rule, []).extend(words_of(command, sandbox))
    assert not list(sandbox.rglob("pwned*")), "a value was run as a command"
    assert not list(folder.rglob("pwned*"))
    return found


def declared() -> dict[str, str]:
    """Rule -> its text, of every rule with a command of its own or another's."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^(?=\s*(?:use )?rule )", path.read_text("utf-8"), flags=re.M)[1:]:
            name = re.match(rf"\s*(?:use rule {LETTER} as|rule) ({LETTER})", text)
            assert name, text[:80]
            if "output:" in text or "shell:" in text:
                found[name[1]] = text
    return found


def stages_of(rule: str) -> set[str]:
    """The stages that a rule's text calls, but what starts one, and what makes no result."""
    return set(re.findall(r"polybatch\.([a-z_.]+[a-z])", rule)) - {"cluster.launch", "study.plan"}


def test_every_rule_has_a_command_here(calls: dict[str, list[list[str]]]) -> None:
    assert set(declared()) - NOT_HERE == set(calls)
    assert all(calls[rule] for rule in calls if rule != "make_report")


def test_every_value_of_the_config_arrives_as_one_word(
    calls: dict[str, list[list[str]]], hostile: dict[str, str]
) -> None:
    words = [word for found in calls.values() for call in found for word in call]
    arrived = {text for word in words for text in texts_in(word)}
    assert {key for key, value in hostile.items() if value not in arrived} == set()
    assert not {"touch", "pwned", "/nowhere"} & set(words)


@pytest.mark.parametrize(
    ("rule", "flag", "key"),
    [
        ("collect_source", "--file", "source"),
        ("collect_english", "--files", "source"),
        ("supplied_translations", "--files", "source"),
        ("translator_strings", "--files", "source"),
        ("translate_shard", "--forward", "translator"),
        ("translate_shard", "--backward", "translator"),
        ("accept_translations", "--forward", "translator"),
        ("translated_queries", "--translators", "translator"),
        ("pretrained_encoder", "--path", "encoder"),
        ("adapted_benchmark", "--origin", "benchmark"),
        ("build_index", "--factory", "factory"),
    ],
)
def test_a_value_stands_behind_its_flag(
    calls: dict[str, list[list[str]]], hostile: dict[str, str], rule: str, flag: str, key: str
) -> None:
    assert calls[rule]
    for call in calls[rule]:
        assert hostile[key] in (*texts_in(call[call.index(flag) + 1]),)


def test_a_job_asks_for_the_threads_that_an_index_is_built_with(calls: dict[str, list[list[str]]]) -> None:
    """Elsewhere, Snakemake gives a job one, and a build with more would take them from other jobs."""
    for call in calls["build_index"]:
        assert call[call.index("--threads") + 1] == "2"
        assert json.loads(call[call.index("--options") + 1])["threads"] == 2


def test_every_part_of_every_command_is_quoted() -> None:
    for rule, text in declared().items():
        parts = re.findall(r"\{(?:input|output|params|wildcards|log|resources|threads)\b[^{}]*\}", text)
        assert [part for part in parts if not part.endswith(":q}")] == [], rule


def test_the_manifest_records_the_code_of_every_stage_that_a_rule_calls(calls: dict[str, list[list[str]]]) -> None:
    last = calls["make_tables"][-1]
    recorded = json.loads(last[last.index("--code-digests") + 1])
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in recorded.values())
    called = {stage for rule, text in declared().items() if rule not in CONDITIONAL for stage in stages_of(text)}
    assert {"translation.train", "translation.convert", "tables.inputs"} <= called <= set(recorded)


def test_every_rule_re_runs_with_the_code_that_it_calls() -> None:
    for rule, text in declared().items():
        assert stages_of(text) <= set(re.findall(r'code_digest\("([a-z_.]+)"\)', text)), rule


def test_ids_that_are_none_of_the_hub_are_refused_before_any_job(tmp_path: Path) -> None:
    folder = put_project(tmp_path / "project")
    study = toy()
    study["source"] |= {"path": "toy.jsonl"}
    study["study"]["encoders"] = ["evil"]
    study["encoders"]["evil"] = {"model": "$(touch pwned)"}
    (folder / "evil.yaml").write_text(yaml.safe_dump(study), "utf-8")
    done = snakemake(folder, "-n", "--configfile", "evil.yaml")
    assert done.returncode != 0
    assert "no id of the hub" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_project_may_lie_in_a_folder_with_any_name(
    tmp_path: Path, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_project(tmp_path / FOLDER)
    modules = tmp_path / "modules"  # as a cluster's `module load` puts packages into the path
    modules.mkdir()
    told = "import pathlib, sys\nwith pathlib.Path(__file__).with_name('seen').open('a') as file:\n"
    (modules / "sitecustomize.py").write_text(f"{told}    print(*sys.orig_argv[:3], file=file)\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(modules), os.environ.get("PYTHONPATH")])))
    rows = [{**row, hostile["column"]: row.pop("question")} for row in pairs()[:36]]
    name = f"{HOSTILE}.jsonl"
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    columns = {"query": hostile["column"], "passage": "answer", "lang": "lang", "group": "group"}
    source = {"path": name, "name": "own", "license": hostile["license"], "columns": columns}
    split = {"test_passages": 2, "dev_passages": 2, "parallel_in": ["de", "es"]}
    (folder / "mine.yaml").write_text(yaml.safe_dump(toy(source=source, split=split)), "utf-8")
    done = snakemake(folder, "collect", "--configfile", "mine.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    collected = pd.read_parquet(folder / "results/own/collected/en.parquet")
    assert len(collected) == 12
    assert set(collected["license"]) == {hostile["license"]}
    assert len(pd.read_parquet(folder / "results/own/supplied/de.parquet")) == 12
    assert not list(tmp_path.rglob("pwned*"))
    assert "-m polybatch.collect.one_source" in (modules / "seen").read_text("utf-8")


@pytest.mark.parametrize("name", ["one:two", "{one}"])
def test_a_folder_whose_name_cannot_be_quoted_is_refused(tmp_path: Path, name: str) -> None:
    done = snakemake(put_project(tmp_path / name), "-n")
    assert done.returncode != 0
    assert "must not have any of" in done.stdout + done.stderr
