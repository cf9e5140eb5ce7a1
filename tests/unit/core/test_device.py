"""What a stage computes on is told, and a card that cannot be used is missed aloud."""

from __future__ import annotations

import logging

import pytest
import torch

from polybatch.core.device import given_cards, tell_torch_device


def test_a_given_card_that_torch_does_not_see_is_missed_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tell_torch_device()
    assert caplog.messages == ["computing on the CPU"] and given_cards() == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    tell_torch_device()
    assert caplog.records[-1].levelno == logging.WARNING
    assert "given the card(s) GPU-1, BUT COMPUTING ON THE CPU" in caplog.messages[-1]
    monkeypatch.setattr(torch.version, "cuda", None)
    tell_torch_device()
    assert "is a build for CPUs; docs/gpu.md" in caplog.messages[-1]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    tell_torch_device()
    assert "was built for CUDA 13.0" in caplog.messages[-1]
