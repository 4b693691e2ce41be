"""Why a session failed, in words for one line: what ONNX Runtime says without the C++ around it, and what mends it."""

from __future__ import annotations

import re

from animegen.runtime import wheels

_LONGEST = 300  # characters; what is longer is no reason, but a dump

# "/…/cuda_call.cc:154 void onnxruntime::CudaCall(int, …) [with …] ", and on Windows "D:\…\cuda_call.cc:121 CudaCall ".
_FILE = r"\S+\.(?:cc|cu|h)\w*:\d+ "
_PLACE = re.compile(rf"/{_FILE}[^()]*\([^()]*\)(?: const| \[with [^\]]*\])* |\b[A-Z]:\\{_FILE}\S+ ")
# Behind the reason: " ; GPU=0 ; hostname=… ; file=… ; line=355 ; expr=…".
_CIRCUMSTANCES = " ; GPU="


class Unavailable(Exception):  # noqa: N818 (it never leaves this package: DeviceError says it to the user)
    """No session can be had on a device.

    Attributes:
        what: what happened, to stand behind "cuda was asked for, and ".
        fix: what mends it.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: {fix}")
        self.what, self.fix = what, fix


def reason(error: BaseException) -> str:
    """The first line of an error of ONNX Runtime, without where in its source and in which function it was raised."""
    line = str(error).strip().partition("\n")[0].partition(_CIRCUMSTANCES)[0]
    return _PLACE.sub("", line)[:_LONGEST] or type(error).__name__


def smaller_batch(error: BaseException) -> str:
    """What mends a call that had too little memory, to stand behind the reason; empty where it failed otherwise."""
    starved = isinstance(error, MemoryError) or re.search(r"(?i)fail\w* to allocate|out of memory", str(error))
    return ": take a smaller batch_size" if starved else ""


def failed_start(device: str, error: BaseException) -> Unavailable:
    """The creation of a session on the device has raised this."""
    cause = reason(error)
    if "CUDA failure 35:" in cause:  # cudaErrorInsufficientDriver: none, or one older than this CUDA
        fix = f"install an NVIDIA driver for CUDA {wheels.cuda_version()}"
    elif "CUDA failure" in cause:
        fix = "check the GPU with nvidia-smi, and CUDA_VISIBLE_DEVICES"
    else:
        missing = _missing(device)
        cause = "; ".join(filter(None, (cause, _not_found(missing) or wheels.loader_error(device))))
        fix = _fix(device, missing)
    return Unavailable(f"failed to start ({cause})", fix)


def libraries_refused(device: str, printed: str) -> Unavailable:
    """A session was created, and it isn't on the device: its libraries couldn't be loaded.

    Args:
        device: its name.
        printed: what ONNX Runtime printed when it searched for the libraries.
    """
    missing = _missing(device)
    cause = _not_found(missing) or wheels.loader_error(device) or printed or "ONNX Runtime gives no reason"
    return Unavailable(f"its libraries can't be loaded ({cause})", _fix(device, missing))


def _missing(device: str) -> list[str]:
    return wheels.missing_cuda_libraries() if device == "cuda" else []


def _not_found(missing: list[str]) -> str:
    return f"not found: {', '.join(missing)}" if missing else ""


def _fix(device: str, missing: list[str]) -> str:
    if missing:
        return wheels.how_to_install(missing)
    return f"check the NVIDIA driver, and {wheels.INSTALL_CUDA}" if device == "cuda" else "install what it needs"
