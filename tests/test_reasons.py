"""Why CUDA fails, in words for one line; a fake ONNX Runtime says what the real one said."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from click.testing import CliRunner
from conftest import picture_zip

from animegen import DeviceError, ModelError
from animegen.cli import main
from animegen.runtime import CudaOptions, Session, wheels
from animegen.runtime.devices import PROVIDERS
from animegen.runtime.reasons import reason

# What onnxruntime-gpu 1.31.1 really says: without a GPU to see, with a driver that is too old, without TensorRT, at a
# graph that cuDNN refuses, and where CUDA's libraries can't be found.
SOURCE = "/onnxruntime_src/onnxruntime"
CUDA_CALL = (
    "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const "
    "char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = {0}; bool THRW = true; SUCCTYPE = {1}; "
    "std::conditional_t<THRW, void, common::Status> = void]"
)


def cuda_failure(words: str) -> str:
    signature = CUDA_CALL.format("cudaError", "cudaError")
    place = f"{SOURCE}/core/providers/cuda/cuda_call.cc"
    return (
        f"{place}:154 {signature} {place}:146 {signature} CUDA failure {words} ; GPU=-1 ; hostname=vm ; "
        f"file={SOURCE}/core/providers/cuda/cuda_execution_provider.cc ; line=355 ; "
        "expr=cudaSetDevice(info_.device_id); \n\n"
    )


NO_DEVICE = cuda_failure("100: no CUDA-capable device is detected")
OLD_DRIVER = cuda_failure("35: CUDA driver version is insufficient for CUDA runtime version")
NO_TENSORRT = (
    f"{SOURCE}/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::RegisterTensorRTPluginsAsCustomOps("
    "PySessionOptions&, const onnxruntime::ProviderOptions&) Please install TensorRT libraries as mentioned in the GPU "
    "requirements page, make sure they're in the PATH or LD_LIBRARY_PATH, and that your GPU is supported.\n"
)
FRONTEND = CUDA_CALL.format("cudnn_frontend::error_object", "cudnn_frontend::error_code_t")
NO_FUSED_BIAS = (
    "Error in execution: Non-zero status code returned while running ConvTranspose node. Name:'node_convolution' "
    "Status Message: Failed to initialize CUDNN Frontend: "
    f"{SOURCE}/core/providers/cuda/cudnn_fe_call.cc:117 {FRONTEND} "
    f"{SOURCE}/core/providers/cuda/cudnn_fe_call.cc:109 {FRONTEND} CUDNN_FE failure 1: ATTRIBUTE_NOT_SET ; GPU=0 ; "
    f"hostname=vm ; file={SOURCE}/core/providers/cuda/nn/conv_transpose.cc ; line=197 ; "
    "expr=s_.cudnn_fe_graph->validate(); \n\n with the cudnn frontend json:\n{}"
)
# As users of Windows report it; there the name of the function stands alone.
WINDOWS = (
    r"D:\a\_work\1\s\onnxruntime\core\providers\cuda\cuda_call.cc:121 onnxruntime::CudaCall "
    r"D:\a\_work\1\s\onnxruntime\core\providers\cuda\cuda_call.cc:114 onnxruntime::CudaCall CUDA failure 35: CUDA "
    r"driver version is insufficient for CUDA runtime version ; GPU=1055442736 ; hostname=DESKTOP ; "
    r"file=D:\a\_work\1\s\onnxruntime\core\providers\cuda\cuda_execution_provider.cc ; line=245 ; "
    r"expr=cudaSetDevice(info_.device_id);"
)
NO_LIBRARIES = (
    "Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file: No such file or directory\n"
    "Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file: No such file or directory\n"
    "Failed to load libcurand.so.10: libcurand.so.10: cannot open shared object file: No such file or directory\n"
    "Please follow https://onnxruntime.ai/docs/install/#cuda-and-cudnn to install CUDA."
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (NO_DEVICE, "CUDA failure 100: no CUDA-capable device is detected"),
        (OLD_DRIVER, "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"),
        (WINDOWS, "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"),
        (
            NO_TENSORRT,
            "Please install TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the "
            "PATH or LD_LIBRARY_PATH, and that your GPU is supported.",
        ),
        (
            NO_FUSED_BIAS,
            "Error in execution: Non-zero status code returned while running ConvTranspose node. "
            "Name:'node_convolution' Status Message: Failed to initialize CUDNN Frontend: "
            "CUDNN_FE failure 1: ATTRIBUTE_NOT_SET",
        ),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : (parsing) failed.", None),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_told_without_the_c_plus_plus_around_it(said: str, expected: str | None) -> None:
    assert reason(RuntimeError(said)) == (said if expected is None else expected)


class FakeModule:
    """An ONNX Runtime with CUDA compiled in, on a machine where it fails in a chosen way.

    Args:
        raised: what the creation of a session on CUDA raises; without it that goes on without CUDA.
        printed: what the search for CUDA's libraries prints.
    """

    __version__ = "9.9"
    cuda_version = "13.0"
    __file__ = "nowhere/__init__.py"
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, raised: str = "", printed: str = "") -> None:
        self.raised, self.printed = raised, printed
        self.asked: list[tuple[list[str], dict[str, dict[str, object]]]] = []
        self.severities: list[int] = []

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        print(self.printed)  # noqa: T201 (as onnxruntime does, on stdout)

    def set_default_logger_severity(self, severity: int) -> None:
        self.severities.append(severity)

    def InferenceSession(  # noqa: N802 (its name there)
        self, data: bytes, options: object, *, providers: list[tuple[str, dict[str, object]]], enable_fallback: int
    ) -> onnxruntime.InferenceSession:
        names = [name for name, _ in providers]
        self.asked.append((names, dict(providers)))
        assert enable_fallback == 0
        if names[0] == PROVIDERS["cuda"] and self.raised:
            raise RuntimeError(self.raised)
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


Fake = Callable[..., FakeModule]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a `FakeModule` in the place of ONNX Runtime, on a machine where the loader misses some libraries."""

    def put(raised: str = "", printed: str = "", absent: Sequence[str] = ()) -> FakeModule:
        module = FakeModule(raised, printed)
        monkeypatch.setattr(wheels, "onnxruntime", lambda: module)
        monkeypatch.setattr(wheels, "loads", lambda name: name not in absent)
        return module

    return put


INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
INSTALL_DRIVER = "install the NVIDIA driver (in a container: run it with --gpus all)"


@pytest.mark.parametrize(
    ("failure", "what", "fix"),
    [
        (
            {"raised": NO_DEVICE},
            "failed to start (CUDA failure 100: no CUDA-capable device is detected)",
            "check the GPU with nvidia-smi, and CUDA_VISIBLE_DEVICES",
        ),
        (
            {"raised": OLD_DRIVER},
            "failed to start (CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version)",
            "install an NVIDIA driver for CUDA 13.0",
        ),
        (
            {"raised": "CUDA_PATH is set", "absent": ["libcublas.so.13"]},
            "failed to start (CUDA_PATH is set; not found: libcublas.so.13)",
            INSTALL,
        ),
        ({"raised": "no words for it"}, "failed to start (no words for it)", f"check the NVIDIA driver, and {INSTALL}"),
        ({"absent": ["libcuda.so.1"]}, "its libraries can't be loaded (not found: libcuda.so.1)", INSTALL_DRIVER),
        (
            {"printed": NO_LIBRARIES, "absent": ["libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"]},
            "its libraries can't be loaded (not found: libcublas.so.13, libcublasLt.so.13, libcurand.so.10)",
            INSTALL,
        ),
        (
            {"absent": ["libcuda.so.1", "libcudnn.so.9"]},
            "its libraries can't be loaded (not found: libcuda.so.1, libcudnn.so.9)",
            f"{INSTALL_DRIVER}, and {INSTALL}",
        ),
        (
            {"printed": "Failed to load\nlibother.so.1"},
            "its libraries can't be loaded (Failed to load libother.so.1)",
            f"check the NVIDIA driver, and {INSTALL}",
        ),
        (
            {},
            "its libraries can't be loaded (ONNX Runtime gives no reason)",
            f"check the NVIDIA driver, and {INSTALL}",
        ),
    ],
)
def test_cuda_that_fails_is_told_and_never_silent(
    failure: dict[str, Any], what: str, fix: str, tiny_model: Path, fake: Fake, capfd: pytest.CaptureFixture[str]
) -> None:
    module = fake(**failure)
    with pytest.raises(DeviceError) as raised:
        Session(tiny_model, device="cuda")
    assert str(raised.value) == f"cuda was asked for, and {what}: {fix}, or take --device cpu"
    session = Session(tiny_model, device="auto")
    assert session.device == "cpu"
    assert session.why == f"CUDA was tried, and {what}; for CUDA, {fix}"
    assert capfd.readouterr().out == ""  # stdout is data
    names, options = module.asked[0]
    assert names == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert options["CUDAExecutionProvider"]["cudnn_conv_algo_search"] == "HEURISTIC"


def test_the_traceback_of_a_failed_cuda_has_all_that_was_said(tiny_model: Path, fake: Fake) -> None:
    fake(raised=NO_DEVICE)
    with pytest.raises(DeviceError) as raised:
        Session(tiny_model, device="cuda")
    assert "expr=cudaSetDevice" in "".join(traceback.format_exception(raised.value))


@pytest.mark.skipif(sys.platform != "linux", reason="the loader's words are glibc's")
@pytest.mark.parametrize(
    ("raised", "what"),
    [("", "its libraries can't be loaded ({0})"), ("no words for it", "failed to start (no words for it; {0})")],
)
def test_what_the_loader_refuses_is_told(
    raised: str, what: str, tmp_path: Path, tiny_model: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "capi").mkdir()
    library = tmp_path / "capi" / "libonnxruntime_providers_cuda.so"
    library.write_bytes(b"no library")
    monkeypatch.setattr(fake(raised=raised), "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(DeviceError) as error:
        Session(tiny_model, device="cuda")
    assert what.format(f"{library}: file too short") in str(error.value)


def test_the_logger_is_the_program_s_and_the_library_leaves_it(tiny_model: Path, fake: Fake) -> None:
    module = fake(absent=["libcuda.so.1"])
    Session(tiny_model, device="auto")
    assert module.severities == []


@pytest.mark.parametrize("command", ["sample --n 1", "stats faces.zip --out faces.npz", "doctor"])
def test_the_command_quiets_its_own_logger(
    command: str, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture_zip(tmp_path / "faces.zip", 2)
    monkeypatch.chdir(tmp_path)
    module = fake(absent=["libcuda.so.1"])
    done = CliRunner().invoke(main, command.split())
    assert "its libraries can't be loaded (not found: libcuda.so.1)" in done.output
    assert set(module.severities) == {4}


def test_a_damaged_file_is_no_fault_of_the_device(tmp_path: Path, fake: Fake) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    fake(raised=NO_DEVICE)
    with pytest.raises(ModelError, match="not an ONNX model"):
        Session(tmp_path / "text.onnx", device="cuda")


def test_auto_says_that_it_left_cuda_s_options_out(tiny_model: Path, fake: Fake) -> None:
    fake(raised=NO_DEVICE)
    session = Session(tiny_model, device="auto", cuda=CudaOptions(half=True))
    assert session.device == "cpu"
    assert session.why.endswith("the options for CUDA are left out")
