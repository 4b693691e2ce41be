"""The precision of a run on a CPU, by timing: what bf16 is worth there depends on the CPU and on the networks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

from train.step.devices import Precision, multiplies_bf16
from train.step.trainer import Trainer

_TIMED = 3  # critic steps of each, after a first one, which chooses kernels and allocates
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
    exact, rough = build("fp32"), build("bf16")
    for trainer in (exact, rough):
        trainer.critic_step(0)
    # In turns, and the quickest of each: whatever else the machine does only makes a step slower.
    turns = [(_seconds(exact, clock), _seconds(rough, clock)) for _ in range(_TIMED)]
    share = min(taken[1] for taken in turns) / min(taken[0] for taken in turns)
    word = exact.group.agree("bf16" if share < _ENOUGH else "fp32", device)
    chosen: Precision = "bf16" if word == "bf16" else "fp32"
    if exact.group.leads:
        logger.info(f"precision: {chosen}, as bf16 takes {share:.2f} of the time that fp32 takes here")
    return chosen


def _seconds(trainer: Trainer, clock: Callable[[], float]) -> float:
    began = clock()
    trainer.critic_step(0)
    return clock() - began
