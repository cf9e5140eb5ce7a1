# What all rules share: the resolved configuration, paths, and small helpers. Logic lives in the package.
import json
import os
import sys

sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))
# Stages run as `python -m polybatch.<stage>`, also where the package is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (sys.path[0], os.environ.get("PYTHONPATH", "")) if p)

from polybatch.code import code_digest
from polybatch.config import resolve, runs, split_options
from polybatch.errors import ConfigError

try:
    CONFIG = resolve(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

BASE = f"results/{CONFIG['collection']}"
STUDY = CONFIG["study"]["name"]
TABLES = f"results/tables/{STUDY}"
RUNS = {run.name: run for run in runs(CONFIG)}
TRAINED = [name for name, run in RUNS.items() if run.trained]
TRAIN_LANGS = CONFIG["languages"]["train"]
EVAL_LANGS = CONFIG["languages"]["evaluate"]
MT_LANGS = CONFIG["translation"]["languages"]
BENCHMARKS = CONFIG["study"]["benchmarks"]


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
