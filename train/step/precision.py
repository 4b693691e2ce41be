"""The precision of a run on a CPU, by timing: what bf16 is worth there depends on the CPU and on the networks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

from train.step.devices import Precision, multiplies_bf16
from train.step.trainer import Trainer

_TIMED = 3  # critic steps of each, after one that chooses kernels and allocates
# Of fp32's time. A bf16 step rounds, so it must be clearly quicker; and a machine that is busy for a moment must not
# decide what the same command computes.
_ENOUGH = 0.9

logger = logging.getLogger(__name__)


def quicker(
    build: Callable[[Precision], Trainer], device: torch.device, *, clock: Callable[[], float] = time.perf_counter
) -> Precision:
    """bf16 if the CPU has it and a critic step takes less than 0.9 of fp32's time with it, else fp32.

    `build` makes a trainer of a precision on `device`, which is trained a little and thrown away. Of several processes
    the leading one decides.
    """
    if not multiplies_bf16(device):
        return "fp32"
    trainer = build("fp32")
    exact, rough = _seconds(trainer, clock), _seconds(build("bf16"), clock)
    quick = trainer.group.agree("bf16" if rough < _ENOUGH * exact else "fp32", device)
    chosen: Precision = "bf16" if quick == "bf16" else "fp32"
    if trainer.group.leads:
        logger.info(f"precision: {chosen}, as bf16 takes {rough / exact:.2f} of the time that fp32 takes here")
    return chosen


def _seconds(trainer: Trainer, clock: Callable[[], float]) -> float:
    """The quickest of some critic steps: whatever else the machine does only makes a step slower."""
    trainer.critic_step(0)
    taken = []
    for _ in range(_TIMED):
        began = clock()
        trainer.critic_step(0)
        taken.append(clock() - began)
    return min(taken)
