"""The ways in which one model file may be run, for `inference.py`: each takes latents and gives uint8 images.

All have the same number of threads. A way's `images` makes one batch; its `stream` makes many in the way that its own
documentation recommends for that. The latents of peers are made beforehand, animegen's own are part of its time. A
model with labels is given those of seeds 0 and on, whatever the latents are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from animegen import Generator, labels, latents
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


def _feeds(path: Path) -> Callable[[Latents], list[Any]]:
    """From latents to all that a graph takes, in its order."""
    with Generator.load(path, device="cpu") as generator:
        groups, z_dim = generator.labels, generator.card.z_dim
    drawn = cache(lambda n: labels.draw_labels(range(n), z_dim, groups))
    return lambda z: [z, drawn(len(z))] if groups else [z]


def _batches(n: int, size: int, z_dim: int) -> Iterator[Latents]:
    z = latents.from_seeds(range(size), z_dim)
    return (z[: min(size, n - start)] for start in range(0, n, size))


def animegen(path: Path, threads: int, engine: Engine = "onnxruntime") -> Way:
    """The library as it is."""
    generator = Generator.load(path, device="cpu", threads=threads, engine=engine)
    generator.warm_up()
    feeds = _feeds(path)

    def stream(n: int, size: int) -> None:
        for _ in generator.stream(range(n), batch_size=size):
            pass

    return Way(lambda z: generator(*feeds(z), batch_size=len(z)), stream)


def animegen_openvino(path: Path, threads: int) -> Way:
    """The library with its other engine."""
    return animegen(path, threads, "openvino")


def onnx_runtime(path: Path, threads: int) -> Way:
    """ONNX Runtime, bare: one session with all threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    z_dim, feeds = session.get_inputs()[0].shape[1], _feeds(path)
    names = [entry.name for entry in session.get_inputs()]

    def images(z: Latents) -> Any:
        return session.run(None, dict(zip(names, feeds(z), strict=True)))[0]

    return Way(images, _one_by_one(images, z_dim))


def onnx_runtime_lanes(path: Path, threads: int) -> Way:
    """ONNX Runtime, bare: as many threads on one session of a single thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    z_dim, pool = session.get_inputs()[0].shape[1], ThreadPoolExecutor(threads)
    names, feeds = [entry.name for entry in session.get_inputs()], _feeds(path)

    def run(z: Latents) -> Any:
        return session.run(None, dict(zip(names, feeds(z), strict=True)))[0]

    def images(z: Latents) -> Any:
        return np.concatenate(list(pool.map(run, [part for part in np.array_split(z, threads) if len(part)])))

    def stream(n: int, size: int) -> None:
        for _ in pool.map(run, _batches(n, size, z_dim)):
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
    feeds = _feeds(path)

    def images(z: Latents) -> Any:
        return request.infer(dict(enumerate(feeds(z))))[0]

    def stream(n: int, size: int) -> None:
        queue = AsyncInferQueue(many)
        for z in _batches(n, size, z_dim):
            queue.start_async(dict(enumerate(feeds(z))))
        queue.wait_all()

    return Way(images, stream)


def torch_eager(path: Path, threads: int, change: Callable[[Any], Any] = lambda module: module, **options: Any) -> Way:
    """torch, on the weights of the file: eager, or changed."""
    import torch
    from torch_graph import TorchGraph

    torch.set_num_threads(threads)
    network = TorchGraph(path).eval()
    network, z_dim, feeds = change(network), 128, _feeds(path)

    def images(z: Latents) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", **{"enabled": False, **options}):
            return network(*map(torch.from_numpy, feeds(z))).numpy()

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
