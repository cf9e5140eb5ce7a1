"""What a cluster offers and refuses, from Slurm's words; tests/cluster asks a real one."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from polybatch.cluster import check, offer, probe, slurm
from polybatch.cluster.check import file_system, request_faults, requests_of, require_runnable, warnings
from polybatch.cluster.probe import Here, node_faults, read_values
from polybatch.cluster.slurm import Answer, Request, read_cards, read_cluster, read_minutes, read_partitions
from polybatch.core.errors import ConfigError

# As Slurm 22.05 writes it; the last two lines as larger clusters have them.
SINFO = """\
cpu*|up|7-00:00:00|4|6000|(null)|idle|n1
short|up|10:00|4|6000|(null)|idle|n1
gpu|up|7-00:00:00|4|8000|gpu:fake:2|mixed|g1
gpu|up|7-00:00:00|64+|512000+|gpu:a100:4(S:0,1),lustre:1|down*|g2
night|drain|infinite|8|9000|gpu:2|idle|n3
"""
TAKEN = Answer(True, "sbatch: Job 5 to start at 2026-11-21T13:26:14 using 1 processors on nodes cpu1 in partition cpu")
NO_NODE = Answer(False, "allocation failure: Requested node configuration is not available")
PLAIN = Request(mem_mb=1000, minutes=10)
CARD = replace(PLAIN, partition="gpu", gpus=1)


@pytest.fixture
def offered() -> slurm.Cluster:
    return slurm.Cluster(read_partitions(SINFO), ("lab", "root"))


def faults(request: Request, offered: slurm.Cluster, answer: Answer = NO_NODE) -> str:
    return "\n".join(f"{fault.what} -> {fault.remedy}" for fault in request_faults(request, offered, answer))


def test_partitions_are_read(offered: slurm.Cluster) -> None:
    assert list(offered.partitions) == ["cpu", "short", "gpu", "night"]
    assert offered.partition("").name == "cpu"
    assert offered.partition("night").limit is None
    g1, g2 = offered.partition("gpu").nodes
    assert (g1.cards, g1.up) == ({"fake": 2}, True)
    assert (g2.cards, g2.cpus, g2.mem_mb, g2.up) == ({"a100": 4}, 64, 512000, False)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("10:00", 10), ("7-00:00:00", 10080), ("1-12:30:00", 2190), ("01:30:00", 90), ("infinite", None)],
)
def test_time_limits_are_read(text: str, minutes: int | None) -> None:
    assert read_minutes(text) == minutes


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("(null)", {}),
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2(S:0,2),gpu:a100:2(S:1,3),gpu:t4:1", {"a100": 4, "t4": 1}),
        ("gpu", {"": 1}),
        ("shard:8", {}),
    ],
)
def test_cards_are_read(text: str, cards: dict[str, int]) -> None:
    assert read_cards(text) == cards


def test_what_slurm_takes_is_no_fault(offered: slurm.Cluster) -> None:
    assert faults(replace(PLAIN, account="lab"), offered, TAKEN) == ""


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (replace(PLAIN, partition="nope"), "no partition 'nope'; there are: cpu (default), short, gpu, night"),
        (replace(PLAIN, cpus=5), "5 CPUs are asked for, but a node of 'cpu' has 4 at most"),
        (replace(PLAIN, mem_mb=7000), "7000 MB are asked for, but a node of 'cpu' has 6000 MB"),
        (replace(PLAIN, partition="short", minutes=11), "11 minutes are asked for, but 'short' allows 10"),
        (
            replace(CARD, partition=""),
            "'cpu' has none; partitions with cards: gpu (fake: 2, a100: 4), night (of no type: 2)",
        ),
        (replace(CARD, gpu_type="h100"), "no card of the type 'h100' in 'gpu'; there are: fake: 2, a100: 4"),
        (replace(CARD, gpu_type="fake", gpus=3), "3 cards are asked for, but a node of 'gpu' has 2 at most"),
        (replace(CARD, gpus=5), "a node of 'gpu' has 4 at most"),
    ],
)
def test_a_refusal_is_explained_with_what_to_set(request_: Request, words: str, offered: slurm.Cluster) -> None:
    told = faults(request_, offered)
    assert words in told
    assert check.PROFILE in told
    assert "\n" not in told, "one fault, one line"


def test_a_refusal_that_no_number_explains_keeps_slurms_words(offered: slurm.Cluster) -> None:
    told = faults(
        replace(PLAIN, constraint="ib"), offered, Answer(False, "allocation failure: Invalid feature specification")
    )
    assert "Invalid feature specification" in told
    assert "--constraint=ib" in told
    account = Answer(False, "allocation failure: Invalid account or account/partition combination specified")
    assert "yours: lab, root" in faults(PLAIN, offered, account)


def test_an_account_of_others_and_a_closed_partition_are_told_though_slurm_takes_them(offered: slurm.Cluster) -> None:
    assert "'theirs' is none of yours; yours: lab, root" in faults(replace(PLAIN, account="theirs"), offered, TAKEN)
    assert "'night' is drain, not up" in faults(replace(PLAIN, partition="night"), offered, TAKEN)
    nobody_told = slurm.Cluster(offered.partitions)
    assert faults(replace(PLAIN, account="theirs"), nobody_told, TAKEN) == ""


def test_missing_memory_and_time_are_told(offered: slurm.Cluster) -> None:
    assert "no mem_mb and runtime is set" in faults(Request(), offered, TAKEN)


def test_all_faults_come_at_once_and_each_once(offered: slurm.Cluster) -> None:
    requests = {replace(PLAIN, partition="nope"): ["a"], replace(PLAIN, partition="nope", cpus=2): ["b"], CARD: ["c"]}
    requests[replace(PLAIN, cpus=9)] = ["d"]
    with pytest.raises(ConfigError) as error:
        require_runnable(requests, offered, lambda request: TAKEN if request == CARD else NO_NODE)
    told = str(error.value)
    assert "2 fault(s)" in told
    assert "asked by: a, b" in told
    assert "asked by: d" in told
    require_runnable({CARD: ["c"]}, offered, lambda _: TAKEN)


class Job(SimpleNamespace):
    """As Snakemake's, of which no more than this is read."""


def job(rule: str, *, group: str | None = None, local: bool = False, threads: int = 1, **resources: object) -> Job:
    return Job(rule=Job(name=rule), group=group, is_local=local, threads=threads, resources=resources)


def test_jobs_become_requests() -> None:
    card = {"slurm_partition": "gpu", "gpu": 2, "gpu_model": "a100", "cpus_per_task": 16}
    together = job("group", threads=3, mem_mb=3000, runtime=30)
    jobs = [
        job("collect", slurm_partition="", mem_mb=2000, runtime=60),
        job("all", local=True),
        job("train", **card, mem_mb=64000, runtime=720),
        job("encode", gpu=0, gpu_model="a100", mem_mb=2000, runtime=60),
        job("index", group="g"),
        job("score", group="g"),
    ]
    dag = SimpleNamespace(needrun_jobs=lambda: jobs, get_job_group=lambda _: together)
    found = requests_of(dag, reservation="class of 26")
    extra = "--reservation='class of 26'"
    assert found == {
        Request(mem_mb=2000, minutes=60, extra=extra): ["collect", "encode"],
        Request("gpu", cpus=16, mem_mb=64000, minutes=720, gpus=2, gpu_type="a100", extra=extra): ["train"],
        Request(cpus=3, mem_mb=3000, minutes=30, extra=extra): ["index", "score"],
    }
    arguments = next(request for request in found if request.gpus).arguments()
    assert "--gpus=a100:2" in arguments
    assert "--reservation=class of 26" in arguments
    assert "--ntasks=1" not in arguments, "the executor leaves it out where there are cards"


def test_a_cluster_without_accounts_is_read() -> None:
    def run(command: list[str]) -> Answer:
        return (
            Answer(True, SINFO) if command[0] == "sinfo" else Answer(False, "You are not running a supported storage")
        )

    assert read_cluster(run).accounts == ()
    with pytest.raises(ConfigError, match="does not tell its partitions"):
        read_cluster(lambda _: Answer(False, "slurm_load_partitions: Unable to contact slurm controller"))


def test_no_slurm_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"There is no Slurm(.|\n)*profiles/default"):
        probe.run(SimpleNamespace())
    executor = SimpleNamespace(name="local")
    check.check(SimpleNamespace(executor_plugin=executor))


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/scratch\\040memory tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/home/me/polybatch", ("nfs4", False)),
        ("/home/me/scratch memory/x", ("tmpfs", True)),
        ("/tmp/x", ("ext4", True)),
        ("/srv/x", ("ext4", False)),
        ("/homes/x", ("ext4", False)),
    ],
)
def test_file_systems_of_one_machine_are_known(folder: str, found: tuple[str, bool]) -> None:
    assert file_system(Path(folder), MOUNTS) == found


def test_doubts_are_told(offered: slurm.Cluster) -> None:
    offered.partitions["gpu"].nodes.pop(0)
    told = "\n".join(warnings([PLAIN, CARD], offered, Path("/tmp/x")))
    assert "No node of the partition 'gpu' is up" in told
    assert "/tmp/x" in told
    assert "polybatch cluster probe" in told


SEEN = "host\tn1\ntoken\tt\nwritten\tyes\npython\tok\npath_python\t/v/bin/python\nhub\tyes\ncards\t0\nmemory_kb\t1\n"
HERE = Here(Path("/work"), "t", "/v/bin/python", Path("/hub"))


def test_a_node_that_sees_all_has_no_fault() -> None:
    values = read_values("srun: job 3 queued\n" + SEEN)
    assert list(node_faults(values, HERE, CARD, came_back=True)) == []


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("token\tt", "token\t", "does not see the working directory /work"),
        (
            "python\tok",
            "python\tsh: /v/bin/python: not found",
            "cannot run /v/bin/python: sh: /v/bin/python: not found",
        ),
        ("python\tok", "python\ttorch snakemake", "lacks modules: torch snakemake"),
        ("path_python\t/v/bin/python", "path_python\t", "no `python` on its PATH"),
        ("hub\tyes\n", "", "does not see the hub's cache /hub"),
        ("cards\t0", "cards\t", "CUDA_VISIBLE_DEVICES is not set"),
    ],
)
def test_what_a_node_lacks_is_told(line: str, instead: str, words: str) -> None:
    assert line in SEEN
    found = list(node_faults(read_values(SEEN.replace(line, instead, 1)), HERE, CARD, came_back=True))
    assert len(found) == 1
    assert words in found[0]


def test_a_node_that_cannot_write_is_told() -> None:
    (found,) = node_faults(read_values(SEEN), HERE, PLAIN, came_back=False)
    assert "what it writes there does not arrive" in found


def test_what_a_cluster_offers_is_one_table(offered: slurm.Cluster) -> None:
    told = offer.described(offered)
    assert re.fullmatch(r"cpu \(default\) +up +10080 min +4 +6000 +none +1 of 1", told[1])
    assert any(re.fullmatch(r"gpu +up +10080 min +64 +512000 +4 a100 +0 of 1", line) for line in told)
    assert any(re.fullmatch(r"night +drain +no limit +8 +9000 +2 of no type +1 of 1", line) for line in told)
    assert told[-1] == "your accounts: lab, root"


def test_slurm_is_asked_about_the_jobs_that_the_profile_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("POLYBATCH_")]:
        monkeypatch.delenv(name)
    parser = argparse.ArgumentParser()
    offer.add_arguments(parser)
    cpu, cards = offer.requests_of_profile(parser.parse_args(["--gpu-partition", "gpu", "--gpus", "2"]))
    assert cpu == Request(mem_mb=2000, minutes=60)
    assert cards == Request("gpu", cpus=16, mem_mb=64000, minutes=720, gpus=2)
    monkeypatch.setenv("POLYBATCH_GPUS", "0")
    parser = argparse.ArgumentParser()
    offer.add_arguments(parser)
    assert list(offer.requests_of_profile(parser.parse_args(["--partition", "short"]))) == [
        Request("short", mem_mb=2000, minutes=60)
    ]
