"""The steps of run.py, each a function; one is run in a process of its own.

inputs: --work, with the unpacked data of prepare.py
outputs: lines of JSON on standard output, one whenever something was measured
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import models
import trainings
from machine import Machine, say

from polybatch.core.files import read_json

CURVE_TOLERANCE = 1e-3  # of a loss in float32, after 20 steps in another order of additions


def environment(at: Machine) -> None:
    """Versions, the card, and what it multiplies in bfloat16."""
    import torch

    said = {"machine": measure.machine(), "cuda": torch.version.cuda, "torch": torch.__version__}
    if torch.cuda.is_available():
        said |= {"card": torch.cuda.get_device_name(), "bf16": torch.cuda.is_bf16_supported()}
    say(**said)
    n = 512 if at.rehearse else 8192
    a, b = (torch.randn(n, n, device=at.device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        _wait()
        times.append(time.perf_counter() - start)
    say(product=n, tflops=2e-12 * n**3 / statistics.median(times[3:]))


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def loss_curve(at: Machine) -> None:
    """20 steps in float32 lose what they lost on the CPU that prepared them."""
    wanted = read_json(at.data / "about.json")["cpu_losses"]
    if at.rehearse:  # with an encoder of one layer, which loses something else: twice the same
        wanted = models.loss_curve(at.encoder, at.data / "pairs", at.device, 2)
    found = models.loss_curve(at.encoder, at.data / "pairs", at.device, len(wanted))
    furthest = max(abs(a - b) / abs(b) for a, b in zip(found, wanted, strict=True))
    say(losses=found, cpu=wanted, furthest=furthest, equal=furthest <= CURVE_TOLERANCE)
    say(gradients=models.gradients_without_padding(at.encoder, at.data / "pairs", at.device))


def study(at: Machine, sharers: int = 1) -> None:
    """The default study from its training text to its scores, by Snakemake, with the profile for cards."""
    import project_copy

    place = at.work / f"study-{sharers}"
    shutil.rmtree(place, ignore_errors=True)
    project_copy.copy_project(measure.ROOT, place)
    shutil.copytree(at.data / "results", place / "results")  # with the times of files, which Snakemake goes by
    encoder = place / "results/homeassistant/encoders/e5-small"
    shutil.copytree(at.encoder, encoder)
    _age_what_results_are_made_from(place)
    overlay = {"training": {"max_steps": 2, "eval_steps": 1, "save_steps": 1}} if at.rehearse else {}
    project_copy.write_overlay(place, {"study": {"reference": "untrained"}, **overlay})
    profile = "profiles/default" if at.rehearse else "profiles/gpu"
    command = [sys.executable, "-m", "snakemake", "--profile", profile, "--rerun-triggers", "mtime", "--quiet", "rules"]
    command += ["--cores", "all", "--configfile", "overlay.yaml", "--", "score"]
    env = {**os.environ, "POLYBATCH_JOBS_PER_GPU": str(sharers)}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=env)
    say(
        sharers=sharers,
        snakemake=done.returncode,
        seconds=time.perf_counter() - start,
        tail=(done.stderr or "").splitlines()[-6:],
    )
    for record in sorted(place.glob("results/homeassistant/models/**/training.json")):
        told = read_json(record)
        names = ("sampling", "steps", "validation_loss", "options", "pairs_per_second", "seconds")
        kept = {name: told[name] for name in names if name in told} | {"model": record.parent.name}
        say(**{**kept, "options": {"precision": told["options"]["precision"]}})
    for path in sorted(place.glob("results/homeassistant/scores/**/*.parquet")):
        say(scores=str(path.relative_to(place)), **_means(path))
    if done.returncode:
        sys.exit(1)


def study_shared(at: Machine) -> None:
    """The same with three jobs on the card at a time."""
    study(at, sharers=3)


def _age_what_results_are_made_from(place: Path) -> None:
    """Translators, and empty files where wheels were, older than all that was made from them: no job is run again."""
    import yaml

    from polybatch.config.paths import wheel
    from polybatch.study.resolve import resolve

    config = resolve(yaml.safe_load((place / "config.yaml").read_text("utf-8")))
    entry = config["encoders"]["e5-small"]["wheel"]
    wheels = [wheel(config["source"][0]["requirement"]), wheel(entry["requirement"], entry["platform"])]
    for path in wheels:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).touch()
    for path in [*map(place.joinpath, wheels), *(place / "resources").rglob("*")]:
        os.utime(path, (0, 0))


def _means(path: Path) -> dict[str, Any]:
    import pandas as pd

    table = pd.read_parquet(path)
    if not {"setting", "metric", "value"} <= set(table.columns):
        return {}
    return {
        "means": {" ".join(key): value for key, value in table.groupby(["setting", "metric"])["value"].mean().items()}
    }


def encode_texts(at: Machine) -> None:
    """Embedding in this one process, beside SentenceTransformer.encode; and how far numbers of 16 bits are off."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from polybatch.embedding.embedder import Embedder
    from polybatch.embedding.options import EncodeOptions
    from polybatch.encoders.load import load_model
    from polybatch.encoders.packed import pack

    paths = sorted((at.data / "pairs" / "parallel").glob("??.parquet"))
    texts = list(dict.fromkeys(text for path in paths for text in pq.read_table(path)["passage"].to_pylist()))
    texts = texts[:40] if at.rehearse else texts
    ids, column = pa.array(list(map(str, range(len(texts))))), pa.array(texts)
    vectors = {}
    for name, dtype, way in (
        ("sentence-transformers, float32, batches of 32", "float32", 32),
        ("sentence-transformers, float32, batches of 256", "float32", 256),
        ("sentence-transformers, bfloat16, batches of 256", "bfloat16", 256),
        ("Polybatch, float32, padded", "float32", None),
        ("Polybatch, bfloat16, padded", "bfloat16", None),
        ("Polybatch, bfloat16", "bfloat16", None),
        ("Polybatch, float16", "float16", None),
    ):
        model = load_model(at.encoder, device=at.device, compute_dtype=dtype).eval()
        if way is None and not name.endswith(("padded", "float32")):
            pack(model, anywhere=True)
        embedder = Embedder(model, "corpus", "passage: ", EncodeOptions())

        def embed(count: int, way: int | None = way, model: Any = model, embedder: Any = embedder) -> Any:
            if way is None:
                return embedder.embed(embedder.prepare(ids[:count], column[:count]))
            how = {"prompt": "passage: ", "batch_size": way, "show_progress_bar": False}
            return model.encode(texts[:count], normalize_embeddings=True, **how)

        embed(min(len(texts), 600))  # its kernels are loaded
        times = []
        for _ in range(2):
            start = time.perf_counter()
            found = np.asarray(embed(len(texts)), dtype=np.float32)
            times.append(time.perf_counter() - start)
        vectors[name] = found
        cosines = (found * next(iter(vectors.values()))).sum(axis=1)
        said = {"texts": len(texts), "rates": [len(texts) / t for t in times], "least_cosine": float(cosines.min())}
        say(encoding=name, **said, mean_cosine=float(cosines.mean()))
        del model, embedder
        if at.device == "cuda":
            torch.cuda.empty_cache()


def translate(at: Machine) -> None:
    """The shipped translator beside transformers and translate_batch alone, without the filter."""
    _translated(at, "shipped", 30 if at.rehearse else 1_500)


def translate_nllb(at: Machine) -> None:
    """The same with one of NLLB-600M's size."""
    if not at.rehearse:  # on a CPU its three sides take half an hour
        _translated(at, "nllb", 200)


def _translated(at: Machine, model: str, pairs: int) -> None:
    script = [sys.executable, str(measure.HERE / "translate.py"), "--device", at.device, "--no-filter", "--rounds", "1"]
    out = at.scratch / f"translate-{model}"
    command = [*script, "--models", model, "--pairs", str(pairs), "--growth", "10", "20", "--out", str(out), "--quick"]
    done = subprocess.run(command, env={**os.environ, **_cublas_12(at.work)}, stdout=sys.stderr, check=False)
    found = out / f"translate{'' if at.device == 'cpu' else '-cuda'}.json"
    told = read_json(found)["goals"] if found.is_file() else None
    say(translator=model, returncode=done.returncode, goals=told)
    if done.returncode:
        sys.exit(1)


def _cublas_12(work: Path) -> dict[str, str]:
    """CTranslate2 opens libcublas.so.12 by its name; where torch brings a later one alone, that is offered under it.

    What it calls of it has the same signatures in both; the outputs are compared with transformers' in any case.
    """
    import importlib.util

    spec = importlib.util.find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations if spec else None) or []]
    found = sorted(path for place in places for path in place.glob("**/libcublas*.so.1[0-9]"))
    if not found:
        return {}
    folder = work / "cublas-12"
    folder.mkdir(exist_ok=True)
    for path in found:
        link = folder / (path.name.rsplit(".", 1)[0] + ".12")
        if not link.exists():
            link.symlink_to(path)
    folders = dict.fromkeys([str(folder), *(str(path.parent) for path in found)])
    return {"LD_LIBRARY_PATH": os.pathsep.join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])}


def two_ranks(at: Machine) -> None:
    """Two processes on one card, over gloo, train what one does: without dropout, which each draws for itself."""
    losses: dict[int, list[float]] = {}
    encoder = _without_dropout(at)
    steps = 2 if at.rehearse else 10
    options = {"max_steps": steps, "batch_size": 16, "eval_steps": 1, "save_steps": steps, "precision": "fp32"}
    options |= {"temperature": 0.01, "learning_rate": 1e-5, "freeze_embeddings": True}
    pairs = at.data / "pairs"
    for count in (1, 2):
        place = at.scratch / f"ranks-{count}"
        shutil.rmtree(place, ignore_errors=True)
        parallel = [f"{p.stem}={p}" for p in sorted((pairs / "parallel").glob("??.parquet"))]
        command = ["--encoder", str(encoder), "--parallel", *parallel, "--sampling", "hybrid", "--alpha", "0.5"]
        command += ["--validation", str(pairs / "validation.parquet"), "--seed", "1", "--options", json.dumps(options)]
        command += ["--checkpoints", str(place / "checkpoints"), "--output", str(place / "model")]
        children = [_rank(rank, count, command) for rank in range(count)]
        ends = [child.wait() for child in children]
        if any(ends):
            say(ranks=count, ended=ends)
            sys.exit(1)
        losses[count] = list(read_json(place / "model" / "training.json")["validation_losses"].values())
    furthest = max(abs(one - two) / one for one, two in zip(losses[1], losses[2], strict=True))
    say(validation_losses=losses, furthest=furthest, equal=furthest <= CURVE_TOLERANCE)


def _without_dropout(at: Machine) -> Path:
    folder = at.scratch / "no-dropout"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(at.encoder, folder)
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _rank(rank: int, count: int, arguments: list[str]) -> subprocess.Popen[bytes]:
    """One process of the training; all of them see the first card, and gloo is there before the library chooses."""
    code = (
        "import sys, torch.distributed as dist\n"
        "from polybatch.training import train\n"
        "dist.init_process_group('gloo') if int(sys.argv[1]) > 1 else None\n"
        "train.main(sys.argv[2:])"
    )
    env = dict(os.environ)
    if count > 1:
        env |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    return subprocess.Popen([sys.executable, "-c", code, str(count), *arguments], env=env, stdout=sys.stderr)


def faiss(at: Machine) -> None:
    """Search on the card, if a build of FAISS for cards is there; else which build it is."""
    import faiss as library
    import numpy as np

    cards = getattr(library, "get_num_gpus", lambda: 0)()
    say(faiss=library.__version__, options=library.get_compile_options(), cards=cards)
    if not cards:
        return
    draw = np.random.default_rng(0)
    passages, queries = (draw.standard_normal((n, 384)).astype(np.float32) for n in (200_000, 2_000))
    index = library.IndexFlatIP(384)
    index.add(passages)
    card = library.index_cpu_to_gpu(library.StandardGpuResources(), 0, index)
    times, found = {}, {}
    for name, one in (("cpu", index), ("card", card)):
        start = time.perf_counter()
        _, found[name] = one.search(queries, 100)
        times[name] = time.perf_counter() - start
    say(seconds=times, same=float((found["cpu"] == found["card"]).mean()))


STEPS: dict[str, Callable[[Machine], None]] = {
    "environment": environment,
    "loss-curve": loss_curve,
    "study": study,
    "study-shared": study_shared,
    "train": trainings.trainings,
    "train-4096": trainings.large_batches,
    "profile": trainings.profiles,
    "encode": encode_texts,
    "translate": translate,
    "translate-nllb": translate_nllb,
    "two-ranks": two_ranks,
    "faiss": faiss,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args(argv)
    STEPS[args.step](Machine(args.work, args.rehearse))


if __name__ == "__main__":
    main()
