"""What single stages leave on disk, for the small studies of the tests: embeddings with their index, and a version of
tables that holds the configuration alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.core.files import write_json
from polybatch.embedding.embedder import Model
from polybatch.embedding.encode import encode
from polybatch.embedding.options import EncodeOptions
from polybatch.retrieval.index import build_indexes
from polybatch.retrieval.options import IndexOptions
from polybatch.tables.versions import versions


def embed_and_index(
    model: Path,
    benchmark: Path,
    languages: Sequence[str],
    *,
    embeddings: Path,
    index: Path,
    options: EncodeOptions | None = None,
    factory: str = "Flat",
) -> None:
    """Embeds a benchmark with a model's folder, and indexes it; the index goes into the folder `index`."""
    encode(Model(model, options or EncodeOptions()), benchmark, languages, embeddings)
    build_indexes(embeddings, languages, factory, IndexOptions(), index)


def fingerprint_of(config: dict[str, Any]) -> str:
    """What the manifest of `write_tables` calls its fingerprint."""
    return hashlib.sha256(json.dumps(config).encode()).hexdigest()


def write_tables(root: Path, config: dict[str, Any], data: dict[str, str] | None = None) -> None:
    """A version of a study's tables without any table: it holds the configuration, and digests of data."""
    fingerprint, content = fingerprint_of(config), "c"

    def fill(folder: Path, name: str) -> None:
        (folder / versions.TABLES).write_text("[]", "utf-8")
        for file in (versions.SCORES, versions.GROUPS):
            (folder / file).write_text("", "utf-8")
        manifest = {"version": name, "fingerprint": fingerprint, "content": content, "git": None, "config": config}
        manifest["data"] = data or {}
        write_json(folder / versions.MANIFEST, manifest)

    versions.publish(root, root / "latest", (fingerprint, content), fill)
