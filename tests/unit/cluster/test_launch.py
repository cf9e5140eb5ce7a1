"""The launcher: cards hidden, trusted, or claimed with real locks between real processes; ranks that end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polybatch.cluster.claims import claim
from polybatch.cluster.launch import jobs_per_card, parse_listing, share_threads, visible_cards
from polybatch.core.errors import ConfigError

PACKAGE = Path(__file__).parents[3] / "workflow"
# What driver 550 prints; the first card is cut into two slices (MIG).
LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
  MIG 1g.5gb      Device  0: (UUID: MIG-11112222-0000-0000-0000-000000000000)
  MIG 1g.5gb      Device  1: (UUID: MIG-33334444-0000-0000-0000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb1111-0000-0000-0000-000000000000)
GPU 2: NVIDIA H100 (UUID: GPU-cccc1111-0000-0000-0000-000000000000)
"""
WHOLE = LISTING.splitlines()[3:]

PROBE = """\
import json, os, signal, sys, time
names = ("CUDA_VISIBLE_DEVICES", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")
facts = {name: os.environ.get(name) for name in names}
told = json.dumps({**facts, "argv": sys.argv[1:], "pid": os.getpid(), "torch": "torch" in sys.modules})
sys.stdout.write(told + "\\n")  # in one piece: ranks share the pipe
sys.stdout.flush()
wish = sys.argv[1]
if wish == "fail" and facts["RANK"] in (None, "1"):
    sys.exit("error: as wished")
if wish == "raise":
    raise KeyError("as wished")
if wish == "mark":
    signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[2] + facts["RANK"], "w").close(), sys.exit(0)))
    print("ready", flush=True)
if wish != "end":
    time.sleep(600)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine without nvidia-smi, a folder for locks, and the module `probe`."""
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "bin").mkdir()
    kept = {name: value for name, value in os.environ.items() if not re.match("CUDA_|SLURM_|POLYBATCH_", name)}
    return {
        **kept,
        "PYTHONPATH": f"{PACKAGE}:{tmp_path}",
        "POLYBATCH_CARDS": str(tmp_path / "cards"),
        "PATH": str(tmp_path / "bin"),
    }


def with_nvidia_smi(environ: dict[str, str], listing: str, code: int = 0) -> dict[str, str]:
    """A stand-in of the driver's program: there is no card here."""
    program = Path(environ["PATH"]) / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{listing}'\nexit {code}\n")
    program.chmod(0o755)
    return environ


def start(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "polybatch.cluster.launch", *arguments]
    return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def told(process: subprocess.Popen[str]) -> dict:
    """What the probe says first."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)


def ended(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = start(environ, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def gone(pid: int, seconds: float = 60) -> bool:
    for _ in range(int(seconds * 10)):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_without_cards_all_are_hidden_and_the_stage_runs_in_this_process(environ: dict[str, str]) -> None:
    environ |= {"CUDA_VISIBLE_DEVICES": "0,1"}
    process = start(environ, "--gpu", "0", "--distributed", "probe", "end", "--gpu", "3", "--", "x")
    facts = told(process)
    process.communicate()
    assert facts["CUDA_VISIBLE_DEVICES"] == ""
    assert facts["pid"] == process.pid
    assert not facts["torch"]
    assert facts["argv"] == ["end", "--gpu", "3", "--", "x"]


def test_a_stage_ends_as_if_started_directly(environ: dict[str, str], running: list) -> None:
    code, _, err = ended(environ, "probe", "fail")
    assert (code, err) == (1, "error: as wished\n")
    code, _, err = ended(environ, "probe", "raise")
    assert code == 1 and "Traceback" in err and err.endswith("KeyError: 'as wished'\n")
    code, _, err = ended(environ, "polybatch.retrieval.score", "--nonsense")
    assert code == 2 and "polybatch.retrieval.score: error:" in err
    running.append(start(environ, "probe", "sleep"))
    told(running[0])
    running[0].send_signal(signal.SIGTERM)
    assert running[0].wait(120) == -signal.SIGTERM


def test_slurm_is_trusted_when_it_shows_as_many_cards_as_wanted(environ: dict[str, str]) -> None:
    environ |= {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2,3"}
    _, out, _ = ended(environ, "--gpu", "2", "probe", "end")
    assert json.loads(out)["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert not Path(environ["POLYBATCH_CARDS"]).exists()


@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_slurm_that_shows_too_few_cards_says_what_to_set(environ: dict[str, str], shown: dict[str, str]) -> None:
    code, out, err = ended(environ | shown | {"SLURM_JOB_ID": "7"}, "--gpu", "2", "probe", "end")
    assert (code, out) == (1, "")
    assert "asks for 2 GPU(s), and this Slurm job has" in err
    assert "CUDA_VISIBLE_DEVICES" in err and "GRES" in err and "profiles/slurm" in err


def test_jobs_of_one_allocation_share_its_cards(environ: dict[str, str], running: list) -> None:
    environ |= {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}
    running += [start(environ, "--gpu", "1", "probe", "sleep") for _ in range(2)]
    assert {told(process)["CUDA_VISIBLE_DEVICES"] for process in running} == {"0", "1"}
    other = start(environ | {"SLURM_JOB_ID": "8"}, "--gpu", "1", "probe", "end")  # its card 0 is another
    assert told(other)["CUDA_VISIBLE_DEVICES"] == "0"
    other.communicate()


def test_without_a_card_the_error_names_the_profile(environ: dict[str, str]) -> None:
    code, out, err = ended(environ, "--gpu", "1", "probe", "end")
    assert (code, out) == (1, "")
    assert "this machine has none" in err and "nvidia-smi is not installed" in err and "profiles/gpu" in err
    with_nvidia_smi(environ, "NVIDIA-SMI has failed: no driver", code=9)
    assert "NVIDIA-SMI has failed: no driver" in ended(environ, "--gpu", "1", "probe", "end")[2]


def test_more_cards_than_there_are_is_an_error_at_once(environ: dict[str, str]) -> None:
    with_nvidia_smi(environ, "\n".join(WHOLE))
    code, _, err = ended(environ, "--gpu", "3", "probe", "end")
    assert code == 1 and "asks for 3 GPU(s), and this machine has 2" in err and "POLYBATCH_GPUS" in err
    assert ended(environ, "--gpu", "-1", "probe", "end")[0] == 1


def test_slices_of_a_card_stand_for_it_and_cannot_be_joined(environ: dict[str, str]) -> None:
    assert list(map(len, parse_listing(LISTING).values())) == [2, 1, 1]
    with_nvidia_smi(environ, LISTING)
    _, out, _ = ended(environ, "--gpu", "1", "probe", "end")
    assert json.loads(out)["CUDA_VISIBLE_DEVICES"] == "MIG-11112222-0000-0000-0000-000000000000"
    code, _, err = ended(environ, "--gpu", "2", "probe", "end")
    assert code == 1 and "MIG" in err


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        (None, ["MIG-1", "MIG-3", "GPU-b", "GPU-c"]),
        ("", []),
        ("2,1", ["GPU-c", "GPU-b"]),
        ("GPU-bbbb,1,9", ["GPU-b"]),
        ("0", ["MIG-1", "MIG-3"]),
        ("MIG-3333", ["MIG-3"]),
    ],
)
def test_an_inherited_choice_limits_the_cards(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, inherited: str | None, expected: list[str]
) -> None:
    monkeypatch.setenv("PATH", with_nvidia_smi(environ, LISTING)["PATH"])
    limit = {} if inherited is None else {"CUDA_VISIBLE_DEVICES": inherited}
    assert [card[:5] for card in visible_cards(limit)[0]] == expected


def test_a_card_has_one_job_at_a_time_and_a_killed_one_frees_it(environ: dict[str, str], running: list) -> None:
    environ |= {"CUDA_VISIBLE_DEVICES": "0"}
    running.append(start(environ, "--gpu", "1", "probe", "sleep"))
    told(running[0])
    running.append(start(environ, "--gpu", "1", "probe", "end"))
    second = running[1]
    assert second.stderr is not None and "waiting for 1 card(s)" in second.stderr.readline()
    time.sleep(1.5)
    assert second.poll() is None
    running[0].kill()
    assert told(second)["CUDA_VISIBLE_DEVICES"] == "0"
    assert second.wait(120) == 0


def test_two_jobs_get_two_cards_and_a_job_of_two_waits_for_both(environ: dict[str, str], running: list) -> None:
    with_nvidia_smi(environ, "\n".join(WHOLE))
    running += [start(environ, "--gpu", "1", "probe", "sleep") for _ in range(2)]
    first, second = (told(process)["CUDA_VISIBLE_DEVICES"] for process in running)
    assert {first[:5], second[:5]} == {"GPU-b", "GPU-c"}
    both = start(environ, "--gpu", "2", "probe", "end")
    running.append(both)
    assert both.stderr is not None and "waiting for 2 card(s)" in both.stderr.readline()
    running[0].kill()
    time.sleep(1.5)
    assert both.poll() is None
    running[1].terminate()
    assert told(both)["CUDA_VISIBLE_DEVICES"].count("GPU-") == 2


def test_jobs_that_share_a_card_fill_its_places_and_no_job_alone_joins_them(
    environ: dict[str, str], running: list
) -> None:
    sharing = environ | {"CUDA_VISIBLE_DEVICES": "0", "POLYBATCH_JOBS_PER_GPU": "2"}
    running += [start(sharing, "--gpu", "1", "probe", "sleep") for _ in range(2)]
    assert [told(process)["CUDA_VISIBLE_DEVICES"] for process in running] == ["0", "0"]
    third = start(sharing, "--gpu", "1", "probe", "sleep")
    alone = start(environ | {"CUDA_VISIBLE_DEVICES": "0"}, "--gpu", "1", "probe", "end")
    running += [third, alone]
    for process in (third, alone):
        assert process.stderr is not None and "waiting for 1 card(s)" in process.stderr.readline()
    running[0].kill()
    assert told(third)["CUDA_VISIBLE_DEVICES"] == "0"
    time.sleep(1.5)
    assert alone.poll() is None
    for process in (running[1], third):
        process.kill()
    assert told(alone)["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_card_without_a_job_comes_before_one_that_would_be_shared(environ: dict[str, str], running: list) -> None:
    with_nvidia_smi(environ, "\n".join(WHOLE))
    environ["POLYBATCH_JOBS_PER_GPU"] = "2"
    running += [start(environ, "--gpu", "1", "probe", "sleep") for _ in range(2)]
    first, second = (told(process)["CUDA_VISIBLE_DEVICES"] for process in running)
    assert {first[:5], second[:5]} == {"GPU-b", "GPU-c"}
    running.append(start(environ, "--gpu", "2", "probe", "sleep"))
    assert told(running[2])["CUDA_VISIBLE_DEVICES"].count("GPU-") == 2
    running[0].kill()
    running[0].wait()
    running.append(start(environ, "--gpu", "1", "probe", "sleep"))
    assert told(running[3])["CUDA_VISIBLE_DEVICES"] == first  # the other has two jobs
    running[2].kill()
    running[2].wait()
    running[3].kill()
    running[3].wait()
    running.append(start(environ, "--gpu", "1", "probe", "sleep"))
    assert told(running[4])["CUDA_VISIBLE_DEVICES"] == first


@pytest.mark.parametrize("given", ["0", "two", "-1"])
def test_a_number_of_jobs_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="POLYBATCH_JOBS_PER_GPU"):
        jobs_per_card({"POLYBATCH_JOBS_PER_GPU": given})


def test_the_folder_of_locks_is_everyones_and_no_link_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    assert claim(["0"], 1, folder) == ["0"]
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert (folder / "0").stat().st_mode & 0o777 == 0o644
    (folder / "1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="locks of the cards") as fault:
        claim(["1"], 1, folder)
    assert str(folder / "1") in str(fault.value) and not (tmp_path / "elsewhere").exists()
    (tmp_path / "link").symlink_to(folder)
    for unusable in (tmp_path / "link", tmp_path / "no" / "parent"):
        with pytest.raises(ConfigError, match="POLYBATCH_CARDS"):
            claim(["0"], 1, unusable)


@pytest.fixture
def profile(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict]:
    """profiles/gpu as Snakemake reads it, on a machine of stand-in cards and with a command line."""
    from snakemake.profiles import ProfileConfigFileParser

    monkeypatch.chdir(PACKAGE.parent)
    monkeypatch.setenv("PATH", environ["PATH"])
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "SLURM_JOB_ID",
        "POLYBATCH_GPUS",
        "POLYBATCH_CPUS_PER_GPU",
        "POLYBATCH_JOBS_PER_GPU",
    ):
        monkeypatch.delenv(name, raising=False)

    def read(command: str) -> dict:
        monkeypatch.setattr(sys, "argv", command.split())
        with open("profiles/gpu/config.yaml", encoding="utf-8") as stream:
            return ProfileConfigFileParser().parse(stream)

    return read


def test_the_profile_counts_cards_and_gives_them_to_jobs(
    profile: Callable[[str], dict], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_nvidia_smi(environ, "\n".join(WHOLE))
    monkeypatch.setenv("POLYBATCH_GPUS", "2")
    read = profile("snakemake --profile profiles/gpu")
    assert read["resources"][0] == "gpu=2"
    assert {"train_run:gpu=2", "encode:gpu=1", "translate_shard:gpu=1", "score_run:gpu=0"} <= set(read["set-resources"])
    monkeypatch.setenv("POLYBATCH_JOBS_PER_GPU", "3")
    assert profile("snakemake --profile profiles/gpu")["resources"][0] == "gpu=6"
    monkeypatch.setenv("POLYBATCH_JOBS_PER_GPU", "two")
    with pytest.raises(SystemExit, match="error: POLYBATCH_JOBS_PER_GPU"):
        profile("snakemake --profile profiles/gpu")
    monkeypatch.delenv("POLYBATCH_JOBS_PER_GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(SystemExit, match="asks for 2 GPU"):
        profile("snakemake --profile profiles/gpu")


def test_the_profile_stops_without_a_card_but_for_a_dry_run(
    profile: Callable[[str], dict], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="this machine has none"):
        profile("snakemake --profile profiles/gpu tables")
    for dry in ("-n", "-pn", "--dry-run", "--dryrun"):
        assert profile(f"snakemake --profile profiles/gpu {dry}")["resources"][0] == "gpu=1"
        assert "A real one would stop" in capsys.readouterr().err


def test_threads_are_divided_among_ranks() -> None:
    environ = {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "3"}
    share_threads(4, environ)
    assert environ == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("before", "wanted"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_that_wait_sleep_soon_unless_the_user_wants_otherwise(
    environ: dict[str, str], before: dict[str, str], wanted: str | None
) -> None:
    kept = {name: value for name, value in environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    process = start(kept | before, "probe", "end")
    assert told(process)["GOMP_SPINCOUNT"] == wanted
    process.communicate()


def ranks(process: subprocess.Popen[str]) -> list[dict]:
    return sorted((told(process) for _ in range(2)), key=lambda facts: facts["RANK"])


@pytest.fixture
def slurm(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "4"}


def test_a_rank_for_each_card(slurm: dict[str, str]) -> None:
    process = start(slurm, "--gpu", "2", "--distributed", "probe", "end", "--x", "1")
    facts = ranks(process)
    assert [one["RANK"] for one in facts] == ["0", "1"]
    assert [one["WORLD_SIZE"] for one in facts] == ["2", "2"]
    assert [one["OMP_NUM_THREADS"] for one in facts] == ["2", "2"]
    assert [one["argv"] for one in facts] == [["end", "--x", "1"]] * 2
    process.communicate()
    assert process.returncode == 0


def test_a_failed_rank_ends_the_others_and_its_words_stand_without_a_traceback(slurm: dict[str, str]) -> None:
    code, _, err = ended(slurm, "--gpu", "2", "--distributed", "probe", "fail")
    assert code == 1
    assert "error: as wished" in err and "Traceback" not in err
    assert "process 1 of 2 ended with exit code 1" in err.splitlines()[-1]


def test_a_signal_reaches_the_ranks(slurm: dict[str, str], tmp_path: Path, running: list) -> None:
    process = start(slurm, "--gpu", "2", "--distributed", "probe", "mark", str(tmp_path / "ended"))
    running.append(process)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    assert lines.count("ready\n") == 2
    process.terminate()
    assert process.wait(120) == -signal.SIGTERM
    assert [(tmp_path / f"ended{rank}").exists() for rank in "01"] == [True, True]


def test_ranks_die_with_a_killed_launcher(slurm: dict[str, str], running: list) -> None:
    process = start(slurm, "--gpu", "2", "--distributed", "probe", "sleep")
    running.append(process)
    facts = ranks(process)
    time.sleep(1)
    assert process.poll() is None  # the ranks outlive the thread that started them
    process.kill()
    assert all(gone(one["pid"]) for one in facts)
