"""Which ONNX Runtime is installed, what it was built with, and which libraries it misses."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
from pathlib import Path
from types import ModuleType

from animegen.errors import MissingPackageError
from animegen.runtime.devices import PROVIDERS

INSTALL_CPU = "pip install 'animegen[cpu]'"
INSTALL_GPU = "pip uninstall -y onnxruntime && pip install --force-reinstall 'animegen[gpu]'"
INSTALL_CUDA = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
INSTALL_DRIVER = "install the NVIDIA driver (in a container: run it with --gpus all)"

_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_DRIVER = "libcuda.so.1"  # comes with the driver: no wheel brings it

# Those that put their files into the one folder `onnxruntime`; extensions and plugins live in folders of their own.
_WHEELS = frozenset({
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm",
    "onnxruntime-qnn", "onnxruntime-silicon", "ort-nightly", "ort-nightly-gpu",
})  # fmt: skip


def onnxruntime() -> ModuleType:
    """The module, without its telemetry unless the user has set ONNX Runtime's own switch otherwise.

    Its wheels ask for a host while a session lives, keep a device id and a database in the user's cache, and hang a
    forked child that ends. The switch is read as the module is imported; `disable_telemetry_events` comes too late.

    Raises:
        MissingPackageError: no ONNX Runtime is installed.
    """
    os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        import onnxruntime as module
    except ImportError as error:
        raise MissingPackageError(
            f"no ONNX Runtime is installed: {INSTALL_CPU}, or 'animegen[gpu]' for CUDA"
        ) from error
    return module  # type: ignore[no-any-return]


def installed_wheels() -> dict[str, str]:
    """The installed ONNX Runtime wheels and their versions. They share one folder, so there must not be two."""
    import importlib.metadata  # a twentieth of the time that a first image takes, and only doctor asks

    wheels = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in _WHEELS:
            wheels[name] = distribution.version
    return wheels


def compiled_providers() -> list[str]:
    """The providers that the installed wheel was built with; whether they work, only a session tells."""
    providers: list[str] = onnxruntime().get_available_providers()
    return providers


def has_cuda_build() -> bool:
    """Whether the installed wheel was built with CUDA."""
    return PROVIDERS["cuda"] in compiled_providers()


def preload_cuda() -> str:
    """Load CUDA's and cuDNN's libraries from their wheels; returns what ONNX Runtime says of those it can't find.

    It says so on stdout, where our data goes, so that is caught. A CPU build returns at once.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        onnxruntime().preload_dlls()
    return " ".join(said.getvalue().split())


def cuda_version() -> str:
    """The version of CUDA that the installed wheel was built with, such as 13.0."""
    return str(getattr(onnxruntime(), "cuda_version", "") or "13")


def missing_cuda_libraries() -> list[str]:
    """The shared libraries of a CUDA build that the loader can't find, after ONNX Runtime's own search; Linux only."""
    if os.name != "posix":
        return []
    preload_cuda()
    # cuDNN and cuRAND count by themselves; the runtime, cuBLAS and nvRTC count with CUDA.
    major = cuda_version().partition(".")[0]
    names = [f"{name}.so.{major}" for name in ("libcudart", "libcublas", "libcublasLt", "libnvrtc")]
    return [name for name in (_DRIVER, *names, "libcurand.so.10", "libcudnn.so.9") if not loads(name)]


def how_to_install(missing: list[str]) -> str:
    """What brings the missing libraries: the driver, wheels, or both."""
    wanted = [INSTALL_DRIVER] if _DRIVER in missing else []
    if set(missing) - {_DRIVER}:
        wanted.append(INSTALL_CUDA)
    return ", and ".join(wanted)


def loads(library: str) -> bool:
    """Whether the loader finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def loader_error(device: str) -> str:
    """Why the loader refuses a provider's library, which ONNX Runtime says only in its log; empty where that's unknown.

    Only for after ONNX Runtime has tried: as it is loaded, the library takes its host from there.
    """
    library = Path(onnxruntime().__file__ or "").parent / "capi" / f"libonnxruntime_providers_{device}.so"
    if not library.is_file():
        return ""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def silence() -> None:
    """Stop what ONNX Runtime's own logger writes to stderr, such as why it can't load a provider's library.

    For a program alone, never for the library: that logger is one for the whole process, and how it was set can't be
    read, so couldn't be put back. What it has to say is in the words of our errors.
    """
    with contextlib.suppress(MissingPackageError):  # who needs one says so
        onnxruntime().set_default_logger_severity(4)  # fatal errors only
