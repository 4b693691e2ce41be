"""The ways in which one model file may be run, for `inference.py`: each takes latents and gives uint8 images.

All have the same number of threads. A way's `images` makes one batch; its `stream` makes many in the way that its own
documentation recommends for that. The latents of peers are made beforehand, animegen's own are part of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animegen import Generator, latents
from animegen.runtime.devices import Engine

Latents = latents.Latents


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
        images: one batch, from latents [N, z_dim].
        stream: so many images in batches of a size; each batch is let go of at once.
    """

    images: Callable[[Latents], Any]
    stream: Callable[[int, int], None]


def _one_by_one(images: Callable[[Latents], Any], z_dim: int) -> Callable[[int, int], None]:
    def stream(n: int, size: int) -> None:
        for z in _batches(n, size, z_dim):
            images(z)

    return stream


def _batches(n: int, size: int, z_dim: int) -> Iterator[Latents]:
    z = latents.from_seeds(range(size), z_dim)
    return (z[: min(size, n - start)] for start in range(0, n, size))


def animegen(path: Path, threads: int, engine: Engine = "onnxruntime") -> Way:
    """The library as it is."""
    generator = Generator.load(path, device="cpu", threads=threads, engine=engine)
    generator.warm_up()

    def stream(n: int, size: int) -> None:
        for _ in generator.stream(range(n), batch_size=size):
            pass

    return Way(lambda z: generator(z, batch_size=len(z)), stream)


def animegen_openvino(path: Path, threads: int) -> Way:
    """The library with its other engine."""
    return animegen(path, threads, "openvino")


def onnx_runtime(path: Path, threads: int) -> Way:
    """ONNX Runtime, bare: one session with all threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    z_dim = session.get_inputs()[0].shape[1]

    def images(z: Latents) -> Any:
        return session.run(None, {"z": z})[0]

    return Way(images, _one_by_one(images, z_dim))


def onnx_runtime_lanes(path: Path, threads: int) -> Way:
    """ONNX Runtime, bare: as many threads on one session of a single thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    z_dim, pool = session.get_inputs()[0].shape[1], ThreadPoolExecutor(threads)

    def images(z: Latents) -> Any:
        parts = [part for part in np.array_split(z, threads) if len(part)]
        return np.concatenate(list(pool.map(lambda part: session.run(None, {"z": part})[0], parts)))

    def stream(n: int, size: int) -> None:
        for _ in pool.map(lambda z: session.run(None, {"z": z})[0], _batches(n, size, z_dim)):
            pass

    return Way(images, stream)


def openvino(path: Path, threads: int) -> Way:
    """OpenVINO in fp32: a request with all threads; a stream by its queue, with as many requests as it asks for."""
    from openvino import AsyncInferQueue, Core

    def compiled(hint: str) -> Any:
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
        return Core().compile_model(str(path), "CPU", settings)

    single, many = compiled("LATENCY"), compiled("THROUGHPUT")
    request, z_dim = single.create_infer_request(), single.input(0).partial_shape[1].get_length()

    def images(z: Latents) -> Any:
        return request.infer({0: z})[0]

    def stream(n: int, size: int) -> None:
        queue = AsyncInferQueue(many)
        for z in _batches(n, size, z_dim):
            queue.start_async({0: z})
        queue.wait_all()

    return Way(images, stream)


def torch_eager(path: Path, threads: int, change: Callable[[Any], Any] = lambda module: module, **options: Any) -> Way:
    """torch, on the weights of the file: eager, or changed."""
    import torch
    from torch_graph import TorchGraph

    torch.set_num_threads(threads)
    network = TorchGraph(path).eval()
    network, z_dim = change(network), 128

    def images(z: Latents) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", **{"enabled": False, **options}):
            return network(torch.from_numpy(z)).numpy()

    return Way(images, _one_by_one(images, z_dim))


def torch_channels_last(path: Path, threads: int) -> Way:
    """The network with the weights in the order that its convolutions on a CPU prefer."""
    import torch

    return torch_eager(path, threads, lambda module: module.to(memory_format=torch.channels_last))


def torch_compile(path: Path, threads: int) -> Way:
    """The network compiled by inductor, for any batch."""
    import torch

    def change(module: Any) -> Any:
        return torch.compile(module.to(memory_format=torch.channels_last), dynamic=True)

    return torch_eager(path, threads, change)


def torch_bf16(path: Path, threads: int) -> Way:
    """The network in bfloat16, where its autocast allows it."""
    import torch

    def change(module: Any) -> Any:
        return module.to(memory_format=torch.channels_last)

    return torch_eager(path, threads, change, enabled=True, dtype=torch.bfloat16)


WAYS: dict[str, Callable[[Path, int], Way]] = {
    "animegen": animegen,
    "animegen, openvino": animegen_openvino,
    "ONNX Runtime": onnx_runtime,
    "ONNX Runtime, lanes": onnx_runtime_lanes,
    "OpenVINO": openvino,
    "torch": torch_eager,
    "torch, channels_last": torch_channels_last,
    "torch.compile": torch_compile,
    "torch, bf16": torch_bf16,
}
