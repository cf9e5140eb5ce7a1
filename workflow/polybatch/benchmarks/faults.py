"""Faults of the benchmarks of a configuration.

inputs: a configuration with its defaults filled in and what it names looked up (polybatch.study.resolve)
outputs: `Fault`s
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator

from polybatch.benchmarks.options import ADAPTER_OPTIONS
from polybatch.config.catalogue import Config, unknown
from polybatch.config.user_files import path_fault
from polybatch.config.values import benchmark_languages, possible_settings, translator_entry
from polybatch.core.contracts import SETTINGS
from polybatch.core.option_faults import Fault
from polybatch.core.options import faults_of

# Keys of a benchmark that belong to one kind of it: held-out text, machine-translated queries, or an adapter.
_KEYS = {
    "split": {"split"},
    "queries_of": {"queries_of", "translate"},
    "lareqa": {"files", "path", "expected"},
    "mlqa": {"files", "path", "expected"},
    "mteb": {"task", "split", "options"},
    "beir": {"path", "split", "options"},
}


def benchmark_faults(config: Config) -> Iterator[Fault]:
    """Faults of the benchmarks that are scored, kept out of the training data, or derived from."""
    named = [*config["study"]["benchmarks"], *config["decontamination"]["benchmarks"]]
    for i, name in enumerate(config["decontamination"]["benchmarks"]):
        if name not in config["benchmarks"]:
            yield unknown(("decontamination", "benchmarks", i), name, "benchmarks", config)
    known = [name for name in named if name in config["benchmarks"]]  # of the study's own, study.faults tells
    originals = [config["benchmarks"][name].get("queries_of") for name in known]
    for name in dict.fromkeys([*known, *(name for name in originals if name in config["benchmarks"])]):
        yield from (fault.under("benchmarks", name) for fault in _faults_of_benchmark(config, name))


def _faults_of_benchmark(config: Config, name: str) -> Iterator[Fault]:
    entry = config["benchmarks"][name]
    kind = entry.get("adapter") or ("split" if "split" in entry else "queries_of")
    for key in sorted(set().union(*_KEYS.values()) - _KEYS[kind]):
        if entry.get(key):
            yield Fault((key,), f"does not belong to {'the adapter ' if 'adapter' in entry else ''}{kind}")
    yield from {"split": _held_out_faults, "queries_of": _derived_faults}.get(kind, _adapted_faults)(config, name)
    queries, corpus = benchmark_languages(config, name)
    possible = possible_settings(queries, corpus)
    for setting in entry.get("settings") or config["scoring"].get("settings") or ():
        if setting in SETTINGS and setting not in possible:
            yield Fault(
                ("settings",),
                f"{setting} cannot be scored with queries in {' '.join(queries)} and passages in {' '.join(corpus)}; "
                f"add a language, or write settings: [{', '.join(possible)}]",
            )


def _held_out_faults(config: Config, name: str) -> Iterator[Fault]:
    split = config["benchmarks"][name]["split"]
    if split not in ("dev", "test"):
        yield Fault(("split",), f"{split!r} is neither dev nor test")
    elif not config["split"].get(f"{split}_passages", 1):
        yield Fault(("split",), f"split.{split}_passages is 0, so there is nothing to make it from")


def _adapted_faults(config: Config, name: str) -> Iterator[Fault]:
    from polybatch.benchmarks.squad import PUBLISHED

    entry = config["benchmarks"][name]
    adapter = entry["adapter"]
    for key in {"mteb": ("task",), "beir": ("path",)}.get(adapter, ()):
        if not entry.get(key):
            yield Fault((key,), f"is missing: the adapter {adapter} needs it")
    if adapter in ADAPTER_OPTIONS:
        yield from (fault.under("options") for fault in faults_of(ADAPTER_OPTIONS[adapter], entry["options"]))
    expected = entry.get("expected")
    if isinstance(expected, str) and expected not in PUBLISHED:
        close = difflib.get_close_matches(expected, PUBLISHED, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        yield Fault(("expected",), f"{expected!r} is not one of {', '.join(PUBLISHED)}{hint}")
    if adapter in ("lareqa", "mlqa") and not {"files", "path"} & set(entry):
        yield Fault((), f"the adapter {adapter} needs files or path")
    if "path" in entry:
        if adapter != "mteb" and (fault := path_fault(str(entry["path"]), "folder")):
            yield Fault(("path",), fault)
    elif "files" in entry and not any(file["url"].endswith(".zip") for file in entry["files"].values()):
        for lang in dict.fromkeys(itertools.chain(*benchmark_languages(config, name))):
            if lang not in entry["files"]:
                yield Fault(("files",), f"none for {lang}; add one, or languages: [{', '.join(entry['files'])}]")


def _derived_faults(config: Config, name: str) -> Iterator[Fault]:
    entry = config["benchmarks"][name]
    original = entry["queries_of"]
    if original not in config["benchmarks"]:
        yield unknown(("queries_of",), original, "benchmarks", config)
    elif "queries_of" in config["benchmarks"][original]:
        text = f"the queries of {original!r} are translated themselves; name what they come from"
        yield Fault(("queries_of",), text)
    elif not all("en" in languages for languages in benchmark_languages(config, original)):
        yield Fault(("queries_of",), f"{original!r} has no English queries and passages")
    for code in entry["translate"]:
        if code != "en" and translator_entry(config, f"en-{code}") is None:
            text = f"no translator for en-{code}; add translation.translators.en-{code}, or a default"
            yield Fault(("translate",), text)
