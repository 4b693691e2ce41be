"""Input and output buffers that stay where they are: no allocation a call, and what CUDA graphs ask for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class Binding:
    """One session's buffers for inputs of one shape. A call holds a lock: the buffers are shared.

    Args:
        place: where the buffers lie, in ONNX Runtime's words: `cpu` or `cuda`.
        graph: the number of the CUDA graph that is captured for this shape, or None.
    """

    def __init__(
        self, module: ModuleType, session: Any, inputs: Mapping[str, NDArray[Any]], *, place: str, graph: int | None
    ) -> None:
        self._session, self._lock = session, threading.Lock()
        self._options = module.RunOptions()
        if graph is not None:
            self._options.add_run_config_entry("gpu_graph_id", str(graph))
        batch = len(next(iter(inputs.values())))
        self._binding = session.io_binding()
        self._inputs = {}
        for name, array in inputs.items():
            # A copy: on the CPU the value would be the caller's own array, which later calls then overwrite.
            value = module.OrtValue.ortvalue_from_numpy(np.array(array, order="C"), place, 0)
            self._binding.bind_ortvalue_input(name, value)
            self._inputs[name] = value
        self._outputs = []
        for output in session.get_outputs():
            shape = [batch, *output.shape[1:]]
            value = module.OrtValue.ortvalue_from_shape_and_type(shape, _TYPES[output.type], place, 0)
            self._binding.bind_ortvalue_output(output.name, value)
            self._outputs.append(value)

    @staticmethod
    def fits(session: Any) -> bool:
        """Whether every output's size is known before a call."""
        return all(
            output.type in _TYPES and all(isinstance(axis, int) for axis in output.shape[1:])
            for output in session.get_outputs()
        )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs, as arrays of their own."""
        with self._lock:
            for name, array in inputs.items():
                self._inputs[name].update_inplace(np.asarray(array, order="C"))
            self._session.run_with_iobinding(self._binding, self._options)
            # On the CPU numpy() is a view into the buffer, which the next call overwrites.
            return [value.numpy().copy() for value in self._outputs]
