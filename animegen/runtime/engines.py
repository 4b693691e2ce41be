"""What computes a model on a CPU: ONNX Runtime, or OpenVINO where it is installed and asked for or faster."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from animegen.errors import MissingPackageError
from animegen.runtime.lanes import Lanes

INSTALL_OPENVINO = "pip install 'animegen[openvino]'"

# Compiling a model a second time and trying both takes about a second; OpenVINO was up to 1.2 times as fast.
_WORTH_TRYING = 20  # seconds that a job would take
FEWEST_IMAGES = 2000  # of a job that is timed at all: timing it takes as long as 64 images
_TRIED_BATCH = 16
_LONE_CALLS = 8  # on one thread each, before a graph of all threads is made: that costs as much as they would gain

_TRIAL_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}

Arrays = Mapping[str, NDArray[Any]]


class Graph(Protocol):
    """A model that can be run, as ONNX Runtime's own sessions can."""

    def run(self, names: None, inputs: dict[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """All outputs, in the graph's order."""


class Graphs:
    """One model on a CPU: a graph whose calls run side by side in lanes, and one of all threads for a call alone.

    Both compute the same bytes. The second is made once calls that come alone are many enough to pay for it, or never
    if `alone` is None.
    """

    def __init__(self, in_lanes: Graph, alone: Callable[[], Graph] | None, lanes: Lanes) -> None:
        self.lanes = lanes
        self._in_lanes, self._make_alone = in_lanes, alone
        self._alone: Graph | None = None
        self._lone_calls = 0
        self._lock = threading.Lock()

    def for_this_call(self) -> Graph:
        """The graph for the calling thread."""
        if self._make_alone is None or self.lanes.is_inside:
            return self._in_lanes
        with self._lock:
            self._lone_calls += 1
            if self._alone is None and self._lone_calls > _LONE_CALLS:
                self._alone = self._make_alone()
        return self._alone or self._in_lanes

    def warm_up(self) -> None:
        """Have the graph for calls that come alone before the first of them."""
        self._lone_calls = _LONE_CALLS
        self.for_this_call()

    def seconds(self, inputs: Arrays) -> float:
        """The least time that a batch takes in each lane at once, of two tries."""
        times = []
        for _ in range(2):
            began = time.perf_counter()
            for _ in self.lanes.map(lambda _: self.for_this_call().run(None, dict(inputs)), range(self.lanes.count)):
                pass
            times.append(time.perf_counter() - began)
        return min(times)


class OpenVinoGraph:
    """A model compiled by OpenVINO for the CPU, in fp32. Threads may share it: each has a request of its own.

    Args:
        model: the file's bytes, or its path where weights stand beside it.
        threads: CPU threads in all.
        streams: calls that run side by side, each on its share of the threads.
    """

    def __init__(self, model: bytes | Path, *, threads: int, streams: int) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(model), "CPU", settings)
        self._outputs = len(self._model.outputs)
        for tensor in self._model.inputs:
            # Its table of types is made at the first use, and two threads that come to it together wait for each other
            # for ever (seen with 2026.4.1: one holds the table's lock, the other Python's).
            tensor.get_element_type().to_dtype()
        self._requests = threading.local()

    def run(self, _names: None, inputs: dict[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """All outputs, in the graph's order."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        results = self._requests.own.infer(inputs, share_inputs=True)
        return [np.asarray(results[k]) for k in range(self._outputs)]


def openvino_installed() -> bool:
    """Whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


def with_openvino(model: bytes | Path, lanes: Lanes, threads: int) -> Graphs:
    """The model's graphs by OpenVINO.

    Raises:
        MissingPackageError: it isn't installed.
    """
    if not openvino_installed():
        raise MissingPackageError(f"the engine openvino is not installed: {INSTALL_OPENVINO}, or take onnxruntime")
    return Graphs(
        OpenVinoGraph(model, threads=threads, streams=lanes.count),
        (lambda: OpenVinoGraph(model, threads=threads, streams=1)) if lanes.count > 1 else None,
        lanes,
    )


def faster(graphs: Graphs, other: Callable[[], Graphs], inputs: Arrays, images: int) -> tuple[Graphs | None, str]:
    """The other graphs if a job of so many images is long enough to try them and they are faster, and why in words.

    `inputs` are a batch of 16.
    """
    ours = graphs.seconds(inputs)
    if ours * images / (_TRIED_BATCH * graphs.lanes.count) < _WORTH_TRYING:
        return None, ""
    try:
        tried = other()
        theirs = tried.seconds(inputs)
    except Exception as error:  # noqa: BLE001 (whatever stops another engine, ONNX Runtime runs the model)
        return None, f"openvino was tried, and fails on this model ({type(error).__name__})"
    ratio = ours / theirs
    return (tried if ratio > 1 else None), f"openvino is {ratio:.2f} times as fast on the first batches"


def trial_batch(inputs: Mapping[str, tuple[str, tuple[int | str | None, ...]]]) -> Arrays | None:
    """A batch of 16 to try a graph with, by its inputs' types and shapes; None where more than N is open."""
    rng, batch = np.random.default_rng(0), {}
    for name, (dtype, (first, *rest)) in inputs.items():
        if dtype not in _TRIAL_TYPES or isinstance(first, int) or not all(isinstance(axis, int) for axis in rest):
            return None
        values = rng.standard_normal((_TRIED_BATCH, *(axis for axis in rest if isinstance(axis, int))))
        batch[name] = (values if "float" in dtype else 0 * values).astype(_TRIAL_TYPES[dtype])
    return batch
