"""Polybatch: one retriever for many languages, trained on hybrid monolingual/cross-lingual batches.

A folder a topic (docs/pipeline.md has the map), a module a pipeline stage. Nothing heavy is imported
here, so that `python -m polybatch.<topic>.<stage> --help` and Snakemake's dry runs stay instant.
"""

__version__ = "0.1.0"
