"""Says in the log what a stage computes on, and loudly so where it was given a card and cannot use it.

inputs: what torch sees, CUDA_VISIBLE_DEVICES
outputs: a line in the log
"""

from __future__ import annotations

import os

from polybatch.core import stage


def tell_torch_device() -> None:
    """Logs the cards that torch computes on, or the CPU; a warning where cards were given that torch does not see."""
    import torch

    given = given_cards()
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        stage.log.info("computing on %d card(s): %s", len(names), ", ".join(dict.fromkeys(names)))
    elif given:
        stage.log.warning("given the card(s) %s, BUT COMPUTING ON THE CPU: %s", given, _why_no_cuda())
    else:
        stage.log.info("computing on the CPU")


def given_cards() -> str:
    """The cards that this job was given, as CUDA_VISIBLE_DEVICES names them; empty for none, or where nobody said."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for CPUs; docs/gpu.md tells how to install the one for CUDA"
    return (
        f"torch {torch.__version__} was built for CUDA {torch.version.cuda} and finds no card that it can use; "
        "nvidia-smi tells the newest CUDA that the driver knows"
    )
