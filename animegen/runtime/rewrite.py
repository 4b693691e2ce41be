"""fp16, made in memory from an fp32 model: such a file must never reach a CPU, which would only cast it back."""

from __future__ import annotations

from animegen.errors import MissingPackageError
from animegen.runtime import wheels


def to_half(model: bytes) -> bytes:
    """The model with fp16 weights and arithmetic; its inputs and outputs keep their types.

    Raises:
        MissingPackageError: the onnx package, which rewrites the graph, is not installed.
    """
    wheels.onnxruntime()  # by its one door
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise MissingPackageError("--fp16 rewrites the model with the onnx package: pip install onnx") from error
    halved = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
    data: bytes = halved.SerializeToString()
    return data
