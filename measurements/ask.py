"""How long `polybatch search` takes to answer: two models, and twice as many passages as XQuAD-R has sentences.

inputs: the models of a study that was run (`--study`, `--run`, `--against`, as of `polybatch search`); the vectors are
drawn here, of their length, for time hangs on the number of passages and not on what is in them
outputs: a line on the terminal: passages, and the median and the greatest of 50 answers to typed questions, each asked
for the first time
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `polybatch search` does, before numpy is imported

from search_data import make

from polybatch.core.files import read_json, write_json
from polybatch.embedding.embedder import model_digest
from polybatch.search.answers import Answers
from polybatch.search.indexed import Indexed, read_study
from polybatch.search.loading import open_all

QUESTIONS = 50
SIZE = 2  # times XQuAD-R
QUESTION = "how do I know whether the door of the house was opened while I was away"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", default="default")
    parser.add_argument("--run")
    parser.add_argument("--against")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(argv)
    chosen = read_study(args.results, args.study).choose(args.run, args.against, None)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), SIZE, 11)
        answers = open_all([replaced(indexed, Path(folder), place) for place, indexed in enumerate(chosen)])
        ask(answers)


def replaced(indexed: Indexed, folder: Path, place: int) -> Indexed:
    """The run's model over the drawn vectors, which are marked as its own."""
    own = folder / f"embeddings-{place}"
    own.mkdir()
    for side in ("queries", "corpus"):
        (own / side).symlink_to(folder / "embeddings" / side)
    record = read_json(folder / "embeddings" / "embeddings.json")
    write_json(own / "embeddings.json", {**record, "model": model_digest(indexed.model)})
    return replace(indexed, embeddings=own, index=folder / "index", benchmark=folder / "benchmark")


def ask(answers: Answers) -> None:
    """Prints how long answers take."""
    wall, processor = [], []
    for place in range(QUESTIONS):
        start, used = time.perf_counter(), time.process_time()
        answers.ask(f"{QUESTION} {place}")
        wall.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - used))
    told = f"{len(answers.retrievers)} models, {sum(answers.pool.values()):,} passages, {QUESTIONS} questions"
    middle = f"median {statistics.median(wall):.0f} ms, processor time {statistics.median(processor):.0f} ms"
    print(f"{told}: {middle}; least {min(wall):.0f} ms, greatest {max(wall):.0f} ms")


if __name__ == "__main__":
    main()
