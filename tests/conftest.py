"""Settings that hold for all tests, made before anything heavy is imported."""

from __future__ import annotations

import os

# As under Snakemake, where a job of one thread has one. Some tests fork after torch was imported, and a child of a
# process with several OpenMP threads waits for ever for the ones it did not inherit.
os.environ["OMP_NUM_THREADS"] = "1"
# The same holds for the threads of a tokenizer: with "true" in the caller's environment a forked training never ended.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["COLUMNS"] = "80"  # argparse wraps its help at the terminal's width
# A proxy of the caller's does not know this machine's servers, which the tests start and ask.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1", "localhost")))
