"""An update as a CUDA graph: its hundreds of kernels are launched at once, so that Python can't slow a GPU.

The update must be a function of its inputs that leaves its results in place: no random numbers of its own, no value
read back on the CPU, no shape that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from train.step.draws import Arrays

Tensors = Mapping[str, Tensor]
Figures = dict[str, Tensor]  # scalars by name, still on the device
Update = Callable[[Tensors], Figures]

# Kernels are chosen, and an optimiser makes its state, in calls that are not captured: torch's notes on CUDA graphs
# ask for some; these are steps of the training like all others.
_WARM_UPS = 3


class Eager:
    """Calls `update` with its inputs on the device."""

    captured = False

    def __init__(self, update: Update, device: torch.device) -> None:
        self._update = update
        self._device = device

    def __call__(self, arrays: Arrays) -> Figures:
        """One update."""
        return self._update({name: torch.from_numpy(value).to(self._device) for name, value in arrays.items()})


class CudaGraph:
    """Calls `update` with its inputs on the GPU: from the fourth call on, as a captured graph.

    The figures that it returns are overwritten by the next call.
    """

    def __init__(self, update: Update, device: torch.device) -> None:
        self._update = update
        self._device = device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, Tensor] = {}
        self._figures: Figures = {}

    @property
    def captured(self) -> bool:
        """Whether the next call replays the graph."""
        return self._graph is not None

    def __call__(self, arrays: Arrays) -> Figures:
        """One update."""
        self._calls += 1
        if self._calls <= _WARM_UPS:
            return self._warm_up({name: _pinned(value).to(self._device) for name, value in arrays.items()})
        if self._graph is None:
            self._inputs = {name: torch.from_numpy(value).to(self._device) for name, value in arrays.items()}
            self._graph = torch.cuda.CUDAGraph()
            with _fastest_kernels(), torch.cuda.graph(self._graph):
                self._figures = self._update(self._inputs)
        for name, value in arrays.items():
            self._inputs[name].copy_(_pinned(value), non_blocking=True)
        self._graph.replay()
        return self._figures

    def _warm_up(self, inputs: Tensors) -> Figures:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream), _fastest_kernels():
            figures = self._update(inputs)
        current.wait_stream(stream)
        return figures


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
