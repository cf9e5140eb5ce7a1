# What all rules share: the resolved configuration, paths, and small helpers. Logic lives in the package.
import json
import os
import shlex
import sys

sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))
# Stages run as `python -m polybatch.<stage>`, also where the package is not installed.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(sys.path[0])}; ")

from polybatch.code import code_digest
from polybatch.config import resolve, runs, split_options
from polybatch.errors import ConfigError
from polybatch.table_files import expected_files, report_entries

try:
    CONFIG = resolve(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

BASE = f"results/{CONFIG['collection']}"
STUDY = CONFIG["study"]["name"]
SOURCE = CONFIG["source"]
SOURCE_FILE = (
    SOURCE["path"]
    if SOURCE["adapter"] == "local"
    else f"results/sources/{SOURCE['requirement'].replace('==', '-')}-py3-none-any.whl"
)
TABLES = f"results/tables/{STUDY}"
RUNS = {run.name: run for run in runs(CONFIG)}
TRAINED = [name for name, run in RUNS.items() if run.trained]
TRAIN_LANGS = CONFIG["languages"]["train"]
EVAL_LANGS = CONFIG["languages"]["evaluate"]
MT_LANGS = CONFIG["translation"]["languages"]
BENCHMARKS = CONFIG["study"]["benchmarks"]
SHARDS = CONFIG["translation"]["shards"]
TRAINED_TRANSLATORS = CONFIG["translator_training"]
REPORTED = report_entries(CONFIG)
# Stages whose code the manifest records.
STAGES = ["collect", "parallel_text", "translate", "accept", "parallel", "held_out"]
STAGES += ["encoder", "train", "encode", "index", "score", "tables"]


wildcard_constraints:
    lang="[a-z]{2}",
    shard=r"\d+",
    encoder="[^/]+",
    bench="[^/]+",
    run=r"[^/]+/(untrained|[^/]+/n[^/]+/[^/]+/s\d+)",
    trained=r"[^/]+/[^/]+/n[^/]+/[^/]+/s\d+",
    translator="[^/]+",
    direction="[a-z]{2}-[a-z]{2}",


def as_json(value):
    """One line of JSON for a command line; equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def parallel_files(wildcards=None):
    """The training text, one file a language, in the config's order."""
    return [f"{BASE}/parallel/{lang}.parquet" for lang in TRAIN_LANGS]


def named_parallel(wildcards=None):
    """As `--parallel` wants it: en=path de=path ..."""
    return [f"{lang}={path}" for lang, path in zip(TRAIN_LANGS, parallel_files())]


def model_folder(run):
    """The folder of a run's model; an untrained run is its encoder."""
    encoder = run.split("/")[0]
    return f"{BASE}/models/{run}" if run in TRAINED else f"{BASE}/encoders/{encoder}"


def translator_languages(wildcards):
    """Languages, but English, of a translator's directions."""
    directions = TRAINED_TRANSLATORS[wildcards.translator]["directions"]
    return sorted({code for direction in directions for code in direction.split("-")} - {"en"})


def translator_strings(wildcards):
    return [f"{BASE}/strings/{lang}.parquet" for lang in translator_languages(wildcards)]


def named_strings(wildcards):
    return [f"{lang}={BASE}/strings/{lang}.parquet" for lang in translator_languages(wildcards)]


def translator_folder(direction):
    """The translator that the config names for a direction."""
    entry = CONFIG["translation"]["translators"][direction]
    return entry.get("path") or f"{BASE}/translators/{entry['trained']}"


def table_output(name):
    """A file of the newest version; one that the report shows carries its caption."""
    path = f"{TABLES}/latest/{name}"
    return report(path, **REPORTED[name]) if name in REPORTED else path
