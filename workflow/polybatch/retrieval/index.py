"""Builds one FAISS index for each language of a corpus.

inputs: embeddings/<run>/<name>/ (embeddings.json and corpus/<lang>.npy)
outputs: index/<run>/<name>/<lang>.faiss, each with <lang>.json (what it was made from); last index.json, which holds
these records together

The indexes of the languages are shards: the multilingual pool is their union, so that no vector is indexed twice
and a new language costs one index. Similarity is the inner product, the cosine of unit vectors.

Vectors are read in blocks. A Flat index is written block by block too, so that building it needs no more memory for ten
million vectors than for ten thousand; other kinds are trained on a sample and hold their codes in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import made_from, stage
from polybatch.core.digest import code_digest
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, read_json, sha256_file, write_json
from polybatch.embedding.vectors import VectorFile, open_vectors, remove_other_languages, up_to_date_record
from polybatch.retrieval import faiss_builds
from polybatch.retrieval.flat_index import ROWS_AT_A_TIME, write_flat
from polybatch.retrieval.options import EXACT, IndexOptions, faiss_reason

if TYPE_CHECKING:
    import faiss
    import numpy as np

# Vectors to train on: what FAISS itself takes at most for k-means (ClusteringParameters.max_points_per_centroid), and
# enough for 256 centroids of each sub-quantizer.
_POINTS_OF_A_LIST, _LEAST_SAMPLE = 256, 65_536
# k-means in FAISS (Clustering.h) refuses fewer vectors than centroids, and warns below this many a centroid.
_POINTS_PER_CENTROID = 39


def build_indexes(
    embeddings: Path,
    languages: Sequence[str],
    factory: str,
    options: IndexOptions,
    output: Path,
    *,
    threads: int | None = None,
) -> dict[str, int]:
    """Brings the indexes of one set of embeddings up to date.

    Args:
        embeddings: embeddings/<run>/<name>.
        languages: Which corpora to index; indexes of other languages are removed.
        factory: A FAISS factory string: Flat (exact), IVF64,Flat, HNSW32, PQ32x4, ...
        options: See IndexOptions.
        output: index/<run>/<name>.
        threads: That there are, at most; None for as many as the options say.

    Returns:
        {"built": indexes written, "kept": indexes that were up to date}.

    Raises:
        DataError: Embeddings are missing, damaged, or too few to train the index.
        ConfigError: FAISS cannot build `factory` for these vectors.
    """
    import faiss

    corpus = read_json(embeddings / "embeddings.json")["corpus"]
    missing = [lang for lang in languages if lang not in corpus]
    if missing or not languages:
        raise DataError(
            "The embeddings do not hold the languages to index.",
            where=embeddings,
            expected=" ".join(languages) or "at least one language",
            found=" ".join(corpus),
            remedy="run polybatch.embedding.encode with these languages first",
        )
    remove_other_languages(output, languages, (".faiss",))
    remove_other_languages(output, [*languages, "index"], (".json",))
    made_with = {
        "factory": factory,
        "options": options.as_dict(),
        "code": code_digest("retrieval.index"),
        "versions": {"faiss": faiss.__version__},
    }
    records, counts = {}, {"built": 0, "kept": 0}
    for lang in languages:
        path = output / f"{lang}.faiss"
        wanted = {**made_with, "vectors": corpus[lang]["sha256"]}
        record = up_to_date_record(path, wanted)
        counts["built" if record is None else "kept"] += 1
        if record is None:
            vectors = open_vectors(embeddings / "corpus" / f"{lang}.npy", corpus[lang])
            record = _write_index(vectors, options, path, wanted, threads)
        records[lang] = record
    given = made_from.record({"factory": factory, **options.given()}, embeddings=embeddings / "embeddings.json")
    index = {"languages": list(languages), "factory": factory, "corpus": records, "made_from": given}
    write_json(output / "index.json", index)
    return counts


def build_index(vectors: VectorFile, factory: str, options: IndexOptions, threads: int | None = None) -> faiss.Index:
    """Trains an index if its kind needs training, and adds the vectors in their order, block by block.

    More than 65,536 vectors, and more than 256 a list of an inverted file, are not trained on: then a sample is, evenly
    spread by chance of a fixed seed.

    Args:
        vectors: Of length 1.
        factory: A FAISS factory string.
        options: See IndexOptions.
        threads: That there are, at most; None for as many as the options say.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(options.threads, threads or options.threads))
    try:
        index = _new_index(vectors.dim, factory, options)
        if not index.is_trained:
            index.train(_sample(vectors, index))
        for _, block in vectors.blocks(ROWS_AT_A_TIME):
            index.add(block)
    except RuntimeError as error:
        raise _told(error, factory, options, vectors.rows, vectors.dim) from error
    finally:
        faiss.omp_set_num_threads(before)
    if index.ntotal != vectors.rows:
        raise DataError(
            "FAISS did not add every vector.", expected=f"{vectors.rows} rows", found=f"{index.ntotal} rows"
        )
    return index


def _new_index(dim: int, factory: str, options: IndexOptions) -> faiss.Index:
    import faiss

    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if options.build_parameters:
        faiss.ParameterSpace().set_index_parameters(index, options.build_parameters)  # type: ignore[arg-type]
    return index


def _sample(vectors: VectorFile, index: faiss.Index) -> np.ndarray:
    import faiss
    import numpy as np

    inverted = faiss.try_extract_index_ivf(index)
    wanted = max(_LEAST_SAMPLE, _POINTS_OF_A_LIST * (inverted.nlist if inverted else 0))
    if vectors.rows <= wanted:
        return vectors.read()
    return vectors.take(np.sort(np.random.default_rng(0).choice(vectors.rows, wanted, replace=False)))


def _told(error: RuntimeError, factory: str, options: IndexOptions, rows: int, dim: int) -> ConfigError | DataError:
    """What FAISS threw, in terms of the configuration."""
    reason = faiss_reason(error)
    if "training points" in reason:
        return DataError(
            f"There are too few passages to train the index {factory!r}.",
            expected=f"at least one passage for each cluster, better {_POINTS_PER_CENTROID}",
            found=f"{rows} passages; {reason}",
            remedy="use a Flat index, or fewer IVF lists or PQ bits (for example PQ16x4)",
        )
    return ConfigError(
        f"FAISS cannot build the index {factory!r} for vectors of {dim} dimensions.",
        expected="a FAISS factory string that serves the inner product, for example Flat, HNSW32 or IVF16,Flat",
        found=reason + (f" (build_parameters: {options.build_parameters})" if options.build_parameters else ""),
    )


def _write_index(
    vectors: VectorFile, options: IndexOptions, path: Path, made_from: dict[str, Any], threads: int | None
) -> dict[str, Any]:
    import faiss

    factory = made_from["factory"]
    with atomic_path(path) as partial:
        if factory == EXACT and not options.build_parameters:
            write_flat(vectors, partial)
        else:
            faiss.write_index(build_index(vectors, factory, options, threads), str(partial))
    record = {**made_from, "rows": vectors.rows, "dim": vectors.dim, "sha256": sha256_file(path)}
    write_json(path.with_suffix(".json"), record)
    stage.log.info("%s: %d vectors, %s", path, vectors.rows, factory)
    return record


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.retrieval.index", description=__doc__.split("\n")[0])
    parser.add_argument("--embeddings", required=True, type=Path, nargs="+", help="one folder for each benchmark")
    parser.add_argument("--languages", nargs="*", default=[], help="default: all that the embeddings hold")
    parser.add_argument("--factory", default="Flat", help="a FAISS factory string")
    parser.add_argument("--options", default="{}", type=IndexOptions.from_json, help="IndexOptions, as JSON")
    parser.add_argument("--threads", type=int, help="that the job has, at most; default: as the options say")
    parser.add_argument("--output", required=True, type=Path, nargs="+", help="one folder for each benchmark")
    args = parser.parse_args(argv)

    faiss_builds.require()
    if len(args.embeddings) != len(args.output):
        raise ConfigError(
            "Each set of embeddings needs one output folder.",
            expected=f"{len(args.embeddings)} after --output",
            found=str(len(args.output)),
        )
    for embeddings, output in zip(args.embeddings, args.output, strict=True):
        languages = args.languages or list(read_json(embeddings / "embeddings.json")["corpus"])
        counts = build_indexes(embeddings, languages, args.factory, args.options, output, threads=args.threads)
        stage.log.info("%s: %d index(es) built, %d up to date", output, counts["built"], counts["kept"])


if __name__ == "__main__":
    stage.run(main)
