"""How soon the end of a job is noticed: the cap on the executor's wait, on the executor itself."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_executor_plugin_slurm import Executor

from polybatch.cluster.polling import VARIABLE, cap_wait, look_in_time
from polybatch.core.errors import ConfigError


@pytest.fixture
def executor() -> Iterator[Executor]:
    """The executor as its check loop uses it, without a workflow behind it."""
    kind = type("Executor", (Executor,), {})
    made = kind.__new__(kind)
    made.next_seconds_between_status_checks = 2
    yield made


def workflow(executor: Executor, name: str = "slurm") -> SimpleNamespace:
    return SimpleNamespace(executor_plugin=SimpleNamespace(name=name, executor=type(executor)))


def grown(executor: Executor, looks: int) -> list[int]:
    """The waits that follow looks that find nothing ended, as the executor reckons them."""
    waits = []
    for _ in range(looks):
        waits.append(executor.next_seconds_between_status_checks)
        executor.next_seconds_between_status_checks = min(executor.next_seconds_between_status_checks + 10, 180)
    return waits


def test_the_wait_grows_up_to_the_cap(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "15")
    look_in_time(workflow(executor))
    assert grown(executor, 5) == [2, 12, 15, 15, 15]


@pytest.mark.parametrize("value", ["0", None])
def test_without_a_cap_the_executor_keeps_its_pace(
    executor: Executor, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value) if value else monkeypatch.delenv(VARIABLE, raising=False)
    look_in_time(workflow(executor))
    assert grown(executor, 5) == [2, 12, 22, 32, 42]


def test_other_executors_are_left_alone(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    look_in_time(workflow(executor, name="kubernetes"))
    look_in_time(SimpleNamespace(executor_plugin=None))
    assert grown(executor, 3) == [2, 12, 22]


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", ""])
def test_what_is_no_number_of_seconds_is_told(executor: Executor, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=VARIABLE):
        look_in_time(workflow(executor))


class Attribute:
    """An executor whose wait is no property."""

    next_seconds_between_status_checks = 2


class ReadOnly:
    """One whose wait cannot be set."""

    @property
    def next_seconds_between_status_checks(self) -> int:
        return 2


@pytest.mark.parametrize("kind", [Attribute, ReadOnly, type("Without", (), {}), None, "no class"])
def test_an_executor_that_is_built_otherwise_is_left_alone_with_a_warning(
    kind: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    before = dict(vars(kind)) if isinstance(kind, type) else {}
    look_in_time(SimpleNamespace(executor_plugin=SimpleNamespace(name="slurm", executor=kind)))
    assert "has no effect" in caplog.text
    assert not isinstance(kind, type) or dict(vars(kind)) == before
    look_in_time(SimpleNamespace(executor_plugin=SimpleNamespace(name="slurm")))
    look_in_time(SimpleNamespace())


def test_a_wait_that_is_no_number_passes_through() -> None:
    class Later:
        next_seconds_between_status_checks = property(lambda self: self.wait, lambda self, value: None)

    assert cap_wait(Later, 5)
    later: Any = Later()
    later.wait = None
    assert later.next_seconds_between_status_checks is None
    later.wait = 7.5
    assert later.next_seconds_between_status_checks == 5
