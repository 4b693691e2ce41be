"""A model on a device."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from animegen.errors import DeviceError, ModelError, UsageError
from animegen.files import is_file
from animegen.runtime import wheels
from animegen.runtime.binding import Binding
from animegen.runtime.devices import CUDA_BUCKETS, DEVICES, ENGINES, NAMES, PROVIDERS, CudaOptions, Device, Engine
from animegen.runtime.engines import FEWEST_IMAGES, Graphs, faster, openvino_installed, trial_batch, with_openvino
from animegen.runtime.lanes import Lanes
from animegen.runtime.machine import available_cpus, most_threads
from animegen.runtime.reasons import Unavailable, failed_start, libraries_refused, reason, smaller_batch
from animegen.runtime.rewrite import to_half
from animegen.runtime.weights import sha256_of, weights_beside
from animegen.seeds import whole_number

_ERRORS_ONLY = 3  # onnxruntime's log severity; its warnings are about graph optimisation, not about the user's work
_FATAL_ONLY = 4
_LARGEST_WITH_LANES = 2**26  # bytes of a model file: a second copy of what is larger costs more than lanes give


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph. `shape` has a number for a fixed axis and a name or None for a free one."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Session:
    """A model loaded on a device. It may be used from several threads at once.

    Attributes:
        device: where it really runs, read from the created session: `cpu`, `cuda` or another of `DEVICES`.
        is_half: whether it computes in fp16, as it was told to.
        why: for `auto`, why this device was taken.
        threads: how many CPU threads it uses.
        lanes: where calls run side by side: on a CPU one for each thread, elsewhere one.
        engine, engine_why: what computes it, `onnxruntime` or `openvino`, and if `auto` tried both, what it found.
        buckets: the batch sizes that this device is fast at, smallest first; empty where it takes any as well.
        metadata: the model file's strings.
        sha256: of the model file, with the weights that stand beside it.
        nbytes: of these files together.
        inputs, outputs: the graph's tensors.

    Raises:
        MissingPackageError: no ONNX Runtime is installed.
        ModelError: the model can't be read, isn't ONNX, or has weights that aren't in its own folder.
        DeviceError: a device other than `auto` was asked for, and the session isn't on it.
        UsageError: an unknown device or engine, `threads` out of range, or options for CUDA, or OpenVINO, on another
            device.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        device: Device = "auto",
        threads: int | None = None,
        cuda: CudaOptions | None = None,
        engine: Engine = "onnxruntime",
        images: int = 0,
    ) -> None:
        """Load a model. `images` are how many are expected of it, by which the engine `auto` decides."""
        if device not in DEVICES:
            raise UsageError(f"device is {device!r} and must be one of {', '.join(DEVICES)}")
        if engine not in ENGINES:
            raise UsageError(f"engine is {engine!r} and must be one of {', '.join(ENGINES)}")
        if engine == "openvino" and device not in {"auto", "cpu"}:
            raise UsageError(f"device is {device} and must be cpu for the engine openvino")
        self._module = wheels.onnxruntime()
        self._cuda = cuda or CudaOptions()
        if self._cuda != CudaOptions() and device not in {"auto", "cuda"}:
            raise UsageError(f"device is {device} and must be cuda for fp16, CUDA graphs and a CUDA memory limit")
        why = ": more than there are CPUs only get in each other's way"
        most = most_threads()
        self.threads = available_cpus() if threads is None else whole_number("threads", threads, 1, most, why=why)
        self._origin = "the model" if isinstance(model, bytes) else str(model)
        data = model if isinstance(model, bytes) else _read(model)
        path = None if isinstance(model, bytes) else model
        weights = weights_beside(data, path)
        self.sha256 = sha256_of(data, weights)
        self.nbytes = len(data) + sum(path.stat().st_size for path in weights)
        self._takes_lanes = len(data) <= _LARGEST_WITH_LANES and not weights
        # By its path ONNX Runtime looks for weights in the model's folder, and by its bytes in the current one.
        on: Device = "cpu" if engine == "openvino" else device
        self._session, self.why = self._start(path if weights and path else data, on)
        if on != device:
            self.why = "where the engine openvino runs"
        self.device: str = NAMES.get(self._session.get_providers()[0], "cpu")
        self.lanes = Lanes(self.threads if self.device == "cpu" and self._takes_lanes else 1)
        self.is_half = self._cuda.half and self.device == "cuda"
        if self._cuda != CudaOptions() and self.device != "cuda":
            self.why += "; the options for CUDA are left out"
        self.buckets = CUDA_BUCKETS if self.device == "cuda" else ()
        self._bindings: dict[tuple[tuple[int, ...], ...], Binding] | None = None
        self._binding_lock = threading.Lock()
        if self.device == "cuda" and Binding.fits(self._session):
            self._bindings = {}
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.inputs = [_tensor(entry) for entry in self._session.get_inputs()]
        self.outputs = [_tensor(entry) for entry in self._session.get_outputs()]
        self.engine: Engine = "onnxruntime"
        self.engine_why = ""
        all_threads = partial(self._create, data, ["cpu"], threads=self.threads)
        self._graphs = Graphs(self._session, all_threads if self.lanes.count > 1 else None, self.lanes)
        if self.device == "cpu":
            self._choose(engine, path if weights and path else data, images)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs, in the graph's order.

        Raises:
            ModelError: the graph refuses the inputs or fails.
        """
        try:
            if self._bindings is not None:
                return self._bound(inputs).run(inputs)
            return self._graphs.for_this_call().run(None, dict(inputs))
        except Exception as error:
            raise ModelError(f"{self._origin} failed to run: {reason(error)}{smaller_batch(error)}") from error

    def warm_up(self) -> None:
        """Have what calls that come alone are made with, before the first of them."""
        self._graphs.warm_up()

    def _choose(self, engine: Engine, model: Path | bytes, images: int) -> None:
        """Take OpenVINO if it is asked for, or if `auto` finds it faster on a job that is long enough."""
        openvino = partial(with_openvino, model, self.lanes, self.threads)
        graphs: Graphs | None = None
        if engine == "openvino":
            try:
                graphs = openvino()
            except RuntimeError as error:
                raise ModelError(
                    f"{self._origin} can't be loaded by OpenVINO: {reason(error)}; take --engine onnxruntime"
                ) from error
        elif engine == "auto" and images >= FEWEST_IMAGES and openvino_installed():
            batch = trial_batch({tensor.name: (tensor.dtype, tensor.shape) for tensor in self.inputs})
            if batch is not None:
                graphs, self.engine_why = faster(self._graphs, openvino, batch, images)
        if graphs is not None:
            self._graphs, self.engine = graphs, "openvino"
            self._session = None  # its copy of the weights goes

    def _bound(self, inputs: Mapping[str, NDArray[Any]]) -> Binding:
        """The buffers for these shapes, made at their first use. There are few shapes: batches come in buckets."""
        assert self._bindings is not None
        shapes = tuple(array.shape for array in inputs.values())
        with self._binding_lock:  # so that threads with new shapes each number a CUDA graph of their own
            if shapes not in self._bindings:
                graph = len(self._bindings) if self._cuda.graphs else None
                self._bindings[shapes] = Binding(self._module, self._session, inputs, place="cuda", graph=graph)
            return self._bindings[shapes]

    def _start(self, data: bytes | Path, device: Device) -> tuple[Any, str]:
        if device == "cpu":
            return self._create(data, ["cpu"]), "asked for"
        if device == "auto" and not wheels.has_cuda_build():
            return self._create(data, ["cpu"]), f"the installed ONNX Runtime {self._module.__version__} is a CPU build"
        wanted: Device
        wanted, why = ("cuda", "CUDA is available") if device == "auto" else (device, "asked for")
        try:
            return self._required(data, wanted), why
        except Unavailable as error:
            if device != "auto":
                words = f"{device} was asked for, and {error.what}: {error.fix}, or take --device cpu"
                raise DeviceError(words) from error
            return self._create(data, ["cpu"]), f"CUDA was tried, and {error.what}; for CUDA, {error.fix}"

    def _required(self, data: bytes | Path, device: Device) -> Any:
        """A session that is on this device.

        Raises:
            Unavailable: there is none, with why and what to do.
            ModelError: the fault is the file's.
        """
        if PROVIDERS[device] not in wheels.compiled_providers():
            kind = "a CPU build" if device == "cuda" else "built without it"
            fix = wheels.INSTALL_GPU if device == "cuda" else "install one that has it"
            raise Unavailable(f"the installed ONNX Runtime {self._module.__version__} is {kind}", fix)
        printed = wheels.preload_cuda() if device in {"cuda", "tensorrt"} else ""
        try:
            session = self._create(data, [device, "cpu"])
        except ModelError as error:
            self._create(data, ["cpu"])  # if it is the file that can't be loaded, this is the error that says so
            raise failed_start(device, error.__cause__ or error) from error
        if session.get_providers()[0] != PROVIDERS[device]:
            raise libraries_refused(device, printed)
        if device == "cuda" and self._cuda.half:  # only now: an fp16 model must not reach a CPU
            return self._create(to_half(data), [device, "cpu"])
        return session

    def _create(self, data: bytes | Path, devices: list[Device], *, threads: int | None = None) -> Any:
        options = self._module.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY if devices == ["cpu"] else _FATAL_ONLY  # our errors tell the rest
        of_a_lane = 1 if self._takes_lanes and devices == ["cpu"] else self.threads
        options.intra_op_num_threads = of_a_lane if threads is None else threads
        known: dict[Device, dict[str, Any]] = {"cuda": self._cuda.for_provider()}
        providers = [(PROVIDERS[name], known.get(name, {})) for name in devices]
        try:
            # enable_fallback=0: onnxruntime would announce its change of device on stdout and go on.
            return self._module.InferenceSession(data, options, providers=providers, enable_fallback=0)
        except Exception as error:
            raise ModelError(f"{self._origin} is not an ONNX model that can be loaded: {reason(error)}") from error


def _read(path: Path) -> bytes:
    if not is_file(path, ModelError):
        raise ModelError(f"{path} does not exist: name an .onnx file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error


def _tensor(entry: Any) -> Tensor:
    return Tensor(entry.name, entry.type, tuple(entry.shape))
