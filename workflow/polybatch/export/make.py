"""`polybatch export`: what one run of a study made, as a folder that others load.

inputs: a run of a study: its model, indexes, ranked lists and scores
outputs: a folder, whole or absent. At its top a sentence-transformers model with a card; onnx/, faiss/, trec/, mteb/;
export.json (what it holds, what it was made from, what was left out and why) and SHA256SUMS. On demand it goes to the
Hugging Face hub (push.py)
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch import __version__
from polybatch.config.grid import Run
from polybatch.config.paths import RESULTS
from polybatch.core import leftovers, made_from, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, open_parquet, write_text
from polybatch.core.sums import SUMS
from polybatch.embedding.embedder import prompt_of
from polybatch.embedding.options import EncodeOptions
from polybatch.encoders.load import load_model, modules_of
from polybatch.export import card, fidelity, mteb_results, onnx_graph, push, rankings, scores, stale, target
from polybatch.export.source import LANGUAGE_VECTORS, Source, find
from polybatch.tables.versions.manifest import scrub

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.export.scores import Scores

PARTS = ("model", "onnx", "faiss", "trec", "mteb")
_CARD = "README.md"
_LIBRARIES = ("sentence-transformers", "transformers", "torch", "huggingface-hub")
# Float32 and 8 bits, and what ONNX Runtime writes while it quantises.
_ONNX_SHARE = 3
_BYTES_OF_A_LINE = 60


@dataclass
class Export:
    """One export in the making.

    Attributes:
        source: The run.
        folder: What is filled.
        parts: Of PARTS.
        left_out: Part, or part and benchmark, or what of the card and benchmark -> why it is not in it.
        score_on: The benchmark that ONNX files are scored on; "" for none.
    """

    source: Source
    folder: Path
    parts: Sequence[str]
    left_out: dict[str, str]
    score_on: str = ""
    made: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The model, on a CPU in float32."""
        return load_model(self.source.folder, device="cpu").eval()

    @cached_property
    def scores(self) -> Scores | None:
        """The run's scores, but for those that the card leaves out."""
        return scores.read(self.source, without=self._left_out_of(stale.RESULTS))

    def _left_out_of(self, what: str) -> list[str]:
        """The benchmarks on which a card does not show some scores."""
        return [name for name in self.source.benchmarks if f"{what} {name}" in self.left_out]

    def benchmarks_with(self, part: str) -> list[str]:
        """The benchmarks that a part has something of."""
        return [name for name in self.source.benchmarks if not lacking(self.source, part, name)]

    def write(self) -> None:
        """Fills the folder."""
        makers: Mapping[str, Callable[[], Any]] = {
            "model": self._write_model,
            "onnx": self._write_onnx,
            "faiss": lambda: self._each("faiss", rankings.copy_indexes),
            "trec": lambda: self._each("trec", rankings.write_trec),
            "mteb": self._write_mteb,
        }
        for part in self.parts:
            stage.log.info("%s: %s", self.source.run.name, part)
            self.made[part] = makers[part]()
        if "model" in self.parts:
            write_text(self.folder / _CARD, card.render(self._facts()))
        target.finish(self.folder, scrub(self._record()))

    def _each(self, part: str, make: Callable[[Source, str, Path], Any]) -> dict[str, Any]:
        return {name: make(self.source, name, self.folder / part / name) for name in self.benchmarks_with(part)}

    def _write_model(self) -> dict[str, Any]:
        _ = self.model  # it loads
        _copy(self.source.folder, self.folder, lambda path: path.name not in (SUMS, _CARD))
        return self._shape()

    def _shape(self) -> dict[str, Any]:
        parameters = sum(weight.numel() for weight in self.model.parameters())
        return {"dim": self._dim, "max_tokens": self._max_tokens, "parameters": parameters}

    @property
    def _max_tokens(self) -> int | None:
        """Tokens that are read of a text; None where there is no limit, as in a model without a transformer."""
        length = self.model.max_seq_length
        return int(length) if length is not None and math.isfinite(length) else None

    @property
    def _dim(self) -> int:
        return self.source.encoding.get("truncate_dim") or self.model.get_embedding_dimension() or 0

    def _write_onnx(self) -> dict[str, Any]:
        if "model" not in self.parts:
            _copy(self.source.folder, self.folder, lambda path: path in _tokenizer_files(self.source.folder))
        graph, small = self.folder / onnx_graph.FLOAT, self.folder / onnx_graph.INT8
        onnx_graph.write_graph(self.model, graph)
        onnx_graph.quantise(graph, small)
        files = {name: {"bytes": _bytes(self.folder / name)} for name in (onnx_graph.FLOAT, onnx_graph.INT8)}
        self._measure(files)
        return {"files": files, "opset": onnx_graph.OPSET, "scored_on": self.score_on}

    def _measure(self, files: dict[str, dict[str, Any]]) -> None:
        """Adds to each ONNX file its cosines with the model's vectors and, if they are asked for, its scores."""
        import torch

        benchmark = self.score_on or next(iter(self.benchmarks_with("texts")), "")
        truncate = self.source.encoding.get("truncate_dim")
        if not benchmark:
            self.left_out["onnx cosines"] = lacking(self.source, "texts", "") or "no benchmark is there"
            return
        texts = fidelity.sample_texts(self.source, benchmark, self.model)
        expected = fidelity.embed_originals(self.model, texts, truncate)
        for name, file in files.items():
            length = self._max_tokens or 512
            encoder = onnx_graph.OnnxEncoder(self.folder, name, length, truncate, torch.get_num_threads())
            file["cosines"] = fidelity.cosines(expected, encoder.embed(texts))
            if name == onnx_graph.FLOAT:
                fidelity.require_same(file["cosines"], self.folder / name)
            if self.score_on:
                found = fidelity.score(self.source, benchmark, encoder, self.model, name)
                file["scores"] = found.main(benchmark)

    def _write_mteb(self) -> dict[str, Any]:
        assert self.scores is not None
        return {
            "tasks": mteb_results.write(
                self.source,
                self.scores,
                self.benchmarks_with("mteb"),
                self.folder / "mteb",
                parameters=self._shape()["parameters"],
                dim=self._dim,
                max_tokens=self._max_tokens,
            )
        }

    def _facts(self) -> card.Facts:
        options = EncodeOptions.from_values(self.source.encoding)
        prompts = {
            name: prompt_of(self.model, side, options) for name, side in (("query", "queries"), ("passage", "corpus"))
        }
        untrained, hidden = Run.untrained(self.source.run.encoder), self._left_out_of(stale.BEFORE)
        before = scores.read(self.source, untrained, hidden) if self.source.run.trained else None
        return card.Facts(
            source=self.source,
            scores=self.scores,
            before=before,
            prompts=prompts,
            own_prompts=all(self.model.prompts.get(name) == text for name, text in prompts.items()),
            onnx=self.made.get("onnx", {}),
            **self._shape(),
        )

    def _record(self) -> dict[str, Any]:
        source = self.source
        known = {name: source.version.get(name) for name in ("version", "fingerprint", "git") if source.config}
        return {
            "polybatch": __version__,
            "run": source.run.name,
            "study": source.study,
            "collection": Path(source.paths.base).name,
            "model": made_from.digest(source.folder),
            "config": source.config_digest or None,
            "tables": known or None,
            "parts": self.made,
            "left_out": self.left_out,
            "versions": {name: version(name) for name in _LIBRARIES},
        }


def lacking(source: Source, part: str, benchmark: str) -> str:
    """What of a benchmark a part lacks, in words; "" if nothing.

    The part "texts" is the benchmark itself; of "model" the card is meant.
    """
    if part in ("model", "mteb") and benchmark not in source.scored():
        return "no scores"
    if part == "model":
        return ""
    if part == "mteb":
        return mteb_results.lacking_main(source, benchmark)
    if part == "trec" and benchmark not in source.scored():
        return "no scores, which are written after the ranked lists"
    wanted = {
        "faiss": ("indexes", source.index_folder(benchmark) / "index.json"),
        "trec": ("ranked lists", Path(source.paths.ranked(source.run.name, benchmark))),
        "texts": ("texts", Path(source.paths.qrels(benchmark))),
    }
    kinds = [part, "texts"] if part != "texts" else [part]
    return ", ".join(f"no {wanted[kind][0]}" for kind in kinds if not wanted[kind][1].is_file())


def choose(source: Source, only: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Which parts are made, and why the others are not.

    Args:
        source: The run.
        only: The parts that the user names; [] for all that have what they need.

    Raises:
        ConfigError, DataError: A part that was named lacks what it needs; or what a part is made from is not of this
            model (stale.py).
    """
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for part in [part for part in PARTS if part in (only or PARTS)]:
        found = _lacking_everywhere(source, part)
        left_out |= found
        if part not in found:
            chosen.append(part)
        elif only:
            if part == "onnx":
                onnx_graph.require_packages()
            raise DataError(
                f"The part {part} cannot be exported.",
                where=source.run.name,
                expected="what it is made from",
                found=found[part],
                remedy="run the study to its end, or leave the part out",
            )
    read = [part for part in chosen if part in stale.READ]
    there = {part: [name for name in source.benchmarks if not lacking(source, part, name)] for part in read}
    return chosen, left_out | stale.check(source, there)


def _lacking_everywhere(source: Source, part: str) -> dict[str, str]:
    """Part, or part and benchmark -> what is lacking; the part itself only where nothing of it can be made."""
    if part == "model":
        return {} if source.scored() else {"model results": "the run has no scores: the card says so"}
    if part == "onnx":
        if not any(kind.endswith(".Transformer") for kind, _ in modules_of(source.folder)):
            return {part: "the model has no transformer, whose tokens a graph would take"}
        missing = onnx_graph.missing_packages()
        return {part: f"not installed: {', '.join(missing)} (the extra `export`)"} if missing else {}
    faults = {name: lacking(source, part, name) for name in source.benchmarks}
    if all(faults.values()):
        return {part: "; ".join(f"{name}: {fault}" for name, fault in faults.items()) or "no benchmark is known"}
    return {f"{part} {name}": fault for name, fault in faults.items() if fault}


def needed_bytes(source: Source, parts: Sequence[str]) -> int:
    """About how much disk an export takes, while it is made."""
    model = target.size_of(source.folder)
    sizes = {"model": model, "onnx": _ONNX_SHARE * model, "mteb": 1_000_000}
    sizes["faiss"] = 2 * target.size_of(*(source.index_folder(name) for name in source.benchmarks))
    lists = [Path(source.paths.ranked(source.run.name, name)) for name in source.benchmarks]
    sizes["trec"] = sum(_BYTES_OF_A_LINE * _num_rows(path) for path in lists if path.is_file())
    return sum(sizes[part] for part in parts)


def _num_rows(path: Path) -> int:
    with open_parquet(path) as file:
        return file.metadata.num_rows


def _copy(folder: Path, output: Path, wanted: Callable[[Path], bool]) -> None:
    """Copies the files of a model, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and wanted(path) and not any(part.startswith(".") for part in name.parts):
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, output / name)


def _tokenizer_files(folder: Path) -> set[Path]:
    """The files at a model's top, without its weights: what a tokenizer is loaded from."""
    return {path for path in folder.glob("*") if "token" in path.name or path.name in ("config.json", "vocab.txt")}


def _bytes(path: Path) -> int:
    return target.size_of(path, path.with_name(f"{path.name}.data"))


def export(source: Source, to: Path, only: Sequence[str], *, score_on: str = "", force: bool = False) -> Path:
    """Writes an export.

    Args:
        source: The run.
        to: The folder; an export that lies there is replaced.
        only: Of PARTS; [] for all that have what they need.
        score_on: The benchmark that ONNX files are scored on; "" for none.
        force: Whether a folder that holds something else may be replaced.

    Returns:
        The folder.

    Raises:
        ConfigError, DataError: See `choose`, `target.require_own` and `target.require_space`; what is read is damaged.
    """
    parts, left_out = choose(source, only)
    if score_on:
        source.benchmark_folder(score_on)
        if source.has_language_vectors:
            raise ConfigError(
                "ONNX files of this model cannot be scored: they do not take the vectors of languages off.",
                where=source.folder / LANGUAGE_VECTORS,
                remedy="export without --score",
            )
        if "onnx" not in parts:
            onnx_graph.require_packages()
            raise ConfigError("--score scores ONNX files, and none are exported.", remedy="add onnx to --only")
    read = [source.folder, *(source.index_folder(name) for name in source.benchmarks)]
    read += [Path(source.paths.benchmark(name)) for name in source.benchmarks]
    folder = target.require_own(to, read, force=force)
    if found := str(leftovers.clear_beside(folder)):
        stage.log.info("%s", found)
    target.require_space(folder, needed_bytes(source, parts))
    for what, why in left_out.items():
        stage.log.warning("left out: %s (%s)", what, why)
    with atomic_path(folder) as partial:
        partial.mkdir()
        Export(source, partial, parts, left_out, score_on).write()
    return folder


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="polybatch export", description="What one run of a study made, as a folder that others load."
    )
    parser.add_argument("run", help="as results/<collection>/models/ spells it, or <encoder>/untrained")
    parser.add_argument("--study", default="default", help="the study (default: default)")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder to write")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], help="parts; default: all that can be made")
    parser.add_argument("--score", default="", metavar="BENCHMARK", help="score the ONNX files on a benchmark too")
    parser.add_argument("--force", action="store_true", help="replace a folder that holds something else")
    parser.add_argument("--collection", default="", help="the folder below results, where the study has no tables")
    parser.add_argument("--results", type=Path, default=Path(RESULTS), help="folder of all results")
    parser.add_argument("--push", metavar="ORG/NAME", help="list what would go to this repository of the hub")
    parser.add_argument("--yes-publish", action="store_true", help="with --push: send it")
    parser.add_argument("--public", action="store_true", help="with --push: a new repository is open to all")
    args = parser.parse_args(argv)
    if (args.yes_publish or args.public) and not args.push:
        parser.error("--yes-publish and --public go with --push")
    if args.push:
        push.require_repository(args.push, publish=args.yes_publish)
    source = find(args.run, args.study, args.collection, args.results)
    folder = export(source, args.to, args.only, score_on=args.score, force=args.force)
    print(f"{args.to}: {target.size_of(folder) / 1e6:.0f} MB")
    if args.push and args.yes_publish:
        print(push.publish(folder, args.push, public=args.public))
    elif args.push:
        print("\n".join(push.listed(folder, args.push, public=args.public)))


if __name__ == "__main__":
    stage.run(main)
