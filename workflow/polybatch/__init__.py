"""Polybatch: one retriever for many languages, trained on hybrid monolingual/cross-lingual batches.

The package is flat: one module a pipeline stage, and a few that stages share. Nothing heavy is imported
here, so that `python -m polybatch.<stage> --help` and Snakemake's dry runs stay instant.
"""

__version__ = "0.1.0"
