"""The only importer of onnxruntime: device choice, threads, sessions, and its errors in our words."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from numpy.typing import NDArray

from animegen.errors import DeviceError, MissingPackageError, ModelError, UsageError
from animegen.machine import available_cpus

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")

INSTALL_CPU = "pip install 'animegen[cpu]'"
INSTALL_GPU = "pip uninstall -y onnxruntime && pip install --force-reinstall 'animegen[gpu]'"
_WHEELS = frozenset({
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm",
    "onnxruntime-qnn", "onnxruntime-silicon", "ort-nightly", "ort-nightly-gpu",
})  # fmt: skip
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_ERRORS_ONLY = 3  # onnxruntime's log severity; its warnings are about graph optimisation, not about the user's work


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph. `shape` has a number for a fixed axis and a name or None for a free one."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Session:
    """A model loaded on a device. It may be used from several threads at once.

    Attributes:
        device: where it really runs, read from the created session: `cpu` or `cuda`.
        why: for `auto`, why this device was taken.
        threads: how many CPU threads a call uses.
        metadata: the model file's strings.
        inputs, outputs: the graph's tensors.

    Raises:
        MissingPackageError: no ONNX Runtime is installed.
        ModelError: the model can't be read or isn't ONNX.
        DeviceError: `cuda` was asked for and the session isn't on it.
    """

    def __init__(self, model: Path | bytes, *, device: Device = "auto", threads: int | None = None) -> None:
        if device not in DEVICES:
            raise UsageError(f"device {device!r} is unknown: {', '.join(DEVICES)}")
        self._onnxruntime = _import()
        self.threads = threads or available_cpus()
        self._origin = "the model" if isinstance(model, bytes) else str(model)
        data = model if isinstance(model, bytes) else _read(model)
        if device == "cpu":
            self._session, self.why = self._create(data, [_CPU]), "asked for"
        else:
            self._session, self.why = self._create_on_cuda(data, required=device == "cuda")
        self.device = "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.inputs = [_tensor(entry) for entry in self._session.get_inputs()]
        self.outputs = [_tensor(entry) for entry in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs, in the graph's order.

        Raises:
            ModelError: the graph refuses the inputs or fails.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, dict(inputs))
        except Exception as error:
            raise ModelError(f"{self._origin} failed to run: {_first_line(error)}") from error
        return outputs

    def _create(self, data: bytes, providers: list[Any]) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = self.threads
        try:
            # enable_fallback=0: onnxruntime would announce its change of device on stdout and go on.
            return self._onnxruntime.InferenceSession(data, options, providers=providers, enable_fallback=0)
        except Exception as error:
            if providers != [_CPU]:
                raise
            raise ModelError(f"{self._origin} is not an ONNX model that can be loaded: {_first_line(error)}") from error

    def _create_on_cuda(self, data: bytes, *, required: bool) -> tuple[Any, str]:
        """A session on CUDA; where that can't be, an error if it is `required`, and else one on the CPU."""
        reason, fix = f"the installed ONNX Runtime {self._onnxruntime.__version__} is a CPU build", INSTALL_GPU
        if _CUDA in self._onnxruntime.get_available_providers():
            fix = "check the NVIDIA driver, and pip install 'onnxruntime-gpu[cuda,cudnn]'"
            said = io.StringIO()
            with contextlib.redirect_stdout(said):  # preload_dlls prints what it could not load
                self._onnxruntime.preload_dlls()
            try:
                # HEURISTIC: an exhaustive search costs seconds at every new batch size.
                session = self._create(data, [(_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), _CPU])
            except Exception as error:
                reason = f"CUDA failed to start ({_first_line(error)})"
            else:
                if session.get_providers()[0] == _CUDA:
                    return session, "CUDA is available"
                reason = f"CUDA's libraries can't be loaded ({' '.join(said.getvalue().split()) or 'no reason given'})"
        if required:
            raise DeviceError(f"cuda was asked for, and {reason}: {fix}, or take --device cpu")
        return self._create(data, [_CPU]), reason


def installed_wheels() -> dict[str, str]:
    """The installed ONNX Runtime wheels and their versions. They share one folder, so there must not be two."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        # onnxruntime-extensions and the -ep- plugins live in folders of their own.
        if name in _WHEELS:
            found[name] = distribution.version
    return found


def compiled_providers() -> list[str]:
    """The providers that the installed wheel was built with; whether they work, only a session tells."""
    providers: list[str] = _import().get_available_providers()
    return providers


def has_cuda_build() -> bool:
    """Whether the installed wheel was built with CUDA."""
    return _CUDA in compiled_providers()


def missing_cuda_libraries() -> list[str]:
    """The shared libraries of a CUDA build that the loader can't find, after ONNX Runtime's own search."""
    onnxruntime = _import()
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    major = str(getattr(onnxruntime, "cuda_version", "") or "13").partition(".")[0]
    # cuFFT's and cuRAND's numbers are their own; nvRTC, cuBLAS and the runtime count with CUDA.
    names = ["libcudart", "libcublas", "libcublasLt", "libnvrtc"] if os.name == "posix" else []
    libraries = [f"{name}.so.{major}" for name in names] + (["libcudnn.so.9"] if names else [])
    return [name for name in ["libcuda.so.1", *libraries] if names and not _loads(name)]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _import() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"no ONNX Runtime is installed: {INSTALL_CPU}, or 'animegen[gpu]' for CUDA"
        ) from error
    return onnxruntime  # type: ignore[no-any-return]


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"{path} does not exist: name an .onnx file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error


def _tensor(entry: Any) -> Tensor:
    return Tensor(entry.name, entry.type, tuple(entry.shape))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
