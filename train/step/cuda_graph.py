"""A step of training as a CUDA graph: its hundreds of kernels are launched at once, so that Python can't slow a GPU.

The step must be a function of its inputs that leaves its results in place: no random numbers of its own, no value read
back on the CPU, no shape that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]
Tensors = Mapping[str, Tensor]
Step = Callable[[Tensors], dict[str, Tensor]]

# Kernels are chosen, and an optimiser makes its state, in runs that are not recorded: torch's notes on CUDA graphs
# ask for some; these are steps of the training like all others.
_WARM_UPS = 3


class Captured:
    """Calls `step` with its inputs on the GPU; from the fourth call on, as a recorded graph.

    The figures that it returns are overwritten by the next call.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, Tensor] = {}
        self._figures: dict[str, Tensor] = {}

    def __call__(self, arrays: Arrays) -> dict[str, Tensor]:
        """One step."""
        self._calls += 1
        if self._calls <= _WARM_UPS:
            return self._warm_up({name: _pinned(value).to(self._device) for name, value in arrays.items()})
        if self._graph is None:
            self._inputs = {name: torch.from_numpy(value).to(self._device) for name, value in arrays.items()}
            self._graph = torch.cuda.CUDAGraph()
            with _fastest_kernels(), torch.cuda.graph(self._graph):
                self._figures = self._step(self._inputs)
        for name, value in arrays.items():
            self._inputs[name].copy_(_pinned(value), non_blocking=True)
        self._graph.replay()
        return self._figures

    def _warm_up(self, inputs: Tensors) -> dict[str, Tensor]:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream), _fastest_kernels():
            figures = self._step(inputs)
        current.wait_stream(stream)
        return figures


def on(device: torch.device, step: Step) -> Callable[[Arrays], dict[str, Tensor]]:
    """`step` with its inputs on this device, as a graph where that is a GPU."""
    if device.type == "cuda":
        return Captured(step, device)
    return lambda arrays: step({name: torch.from_numpy(value).to(device) for name, value in arrays.items()})


def rate_on(device: torch.device, rate: float) -> float | Tensor:
    """A learning rate for an optimiser: for a graph it lies on the GPU, which reads it at each step."""
    return torch.tensor(rate, device=device) if device.type == "cuda" else rate


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate of an optimiser with one group of parameters."""
    (group,) = optimiser.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _pinned(value: NDArray[Any]) -> Tensor:
    """In memory that the GPU reads by itself. torch keeps such a block until the copy from it is done."""
    return torch.from_numpy(value).pin_memory()


@contextmanager
def _fastest_kernels() -> Iterator[None]:
    """Let cuDNN try its kernels for each shape and keep the fastest: there are few shapes here, used very often."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
