"""Settings that hold for all tests, made before anything heavy is imported."""

from __future__ import annotations

import os

# As under Snakemake, where a job of one thread has one. Some tests fork after torch was imported, and a child of a
# process with several OpenMP threads waits for ever for the ones it did not inherit.
os.environ["OMP_NUM_THREADS"] = "1"
