"""The tables of devices, with the ONNX Runtime providers and options behind them, and of engines. Nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from animegen.seeds import whole_number

Device = Literal["auto", "cpu", "cuda", "tensorrt", "directml", "coreml"]
DEVICES: tuple[Device, ...] = get_args(Device)

PROVIDERS: dict[Device, str] = {  # of every device but auto, which picks one
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
Engine = Literal["auto", "onnxruntime", "openvino"]
ENGINES: tuple[Engine, ...] = get_args(Engine)  # what computes a model on a CPU; auto picks one

NAMES = {provider: name for name, provider in PROVIDERS.items()}

# CUDA's ConvTranspose plans anew for every new batch size (onnxruntime's conv_transpose.cc keeps the last shape only),
# so batches are padded to a few sizes. Steps of four waste little and make few plans.
CUDA_BUCKETS = (1, 8, 32, 128)

_MOST_MEMORY = 2**24  # MB: far above what a GPU has, far below what the bytes of a size_t count


@dataclass(frozen=True, kw_only=True)
class CudaOptions:
    """What CUDA may use and how.

    Attributes:
        memory: the arena's limit in MB, at least 1, or None.
        graphs: capture a CUDA graph for each batch size, which saves the launches of a small model.
        half: convert the model to fp16 in memory; its images differ by some grey levels.
    """

    memory: int | None = None
    graphs: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        if self.memory is not None:
            object.__setattr__(self, "memory", whole_number("the CUDA memory in MB", self.memory, 1, _MOST_MEMORY))

    def for_provider(self) -> dict[str, Any]:
        """ONNX Runtime's own options."""
        options: dict[str, Any] = {
            # An exhaustive search costs far more at every new shape: measured elsewhere as 634 ms against 2 ms.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Powers of two would take up to twice the memory that is needed.
            "arena_extend_strategy": "kSameAsRequested",
        }
        if self.memory is not None:
            options["gpu_mem_limit"] = self.memory * 2**20
        if self.graphs:
            options["enable_cuda_graph"] = "1"
        return options
