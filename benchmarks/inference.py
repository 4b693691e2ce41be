"""How fast is a model file here, by this package and by what else could run it? All ways take turns in one process.

    python benchmarks/inference.py --models anime-face-64,anime-pixels-64

It prints images a second for each batch and for a stream, and the ratio to the fastest fp32 peer; the time of one image
alone; each way's peak memory in a process of its own; and the rate of matrix products in the same run, with the
images a second that it would allow. Latents of the peers are made beforehand, animegen's own are part of its time.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from ways import WAYS, Way

from animegen import find_model, latents
from animegen.checks.bench import machine
from animegen.runtime.machine import available_cpus

FP32 = [name for name in WAYS if name != "torch, bf16"]
STREAM_BATCH = 16


def seconds_of(call: Callable[[], object], least: float) -> float:
    """The time of one call, over as many as take `least` seconds."""
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < least or not calls:
        call()
        calls += 1
    return spent / calls


def in_turns(calls: Mapping[str, Callable[[], object]], repeats: int, least: float) -> dict[str, float]:
    """The median time of each call in seconds; every second turn goes backwards."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for turn in range(repeats):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            times[name].append(seconds_of(calls[name], least))
    return {name: statistics.median(found) for name, found in times.items()}


def matrix_rate(threads: int, repeats: int) -> float:
    """fp32 operations a second of matrix products of 1,024 on all threads."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / in_turns({"mm": lambda: torch.mm(a, b)}, repeats, 0.2)["mm"]


def operations(path: Path) -> int:
    """The multiplications and additions of one image's convolutions."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    shapes = {entry.name: list(entry.dims) for entry in model.graph.initializer}
    for entry in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        shapes[entry.name] = [axis.dim_value for axis in entry.type.tensor_type.shape.dim]
    count = 0
    for node in model.graph.node:
        if node.op_type in {"Conv", "ConvTranspose"}:
            # Each weight is used once for each pixel of the output, or where it is transposed of the input.
            pixels = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]][2:]
            count += 2 * prod(shapes[node.input[1]]) * prod(pixels)
    return count


def peak_megabytes(name: str, path: Path, threads: int, n: int) -> float:
    """The most that a process held which did nothing but stream images in this way."""
    command = [sys.executable, __file__, "--peak", name, "--models", str(path), "--threads", str(threads)]
    done = subprocess.run([*command, "--stream", str(n)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure(path: Path, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one model file: images a second by way and batch."""
    ways: dict[str, Way] = {name: WAYS[name](path, threads) for name in arguments.ways}
    speeds: dict[str, dict[str, float]] = {name: {} for name in ways}
    for size in arguments.batches:
        z = latents.from_seeds(range(size), 128)
        found = in_turns(
            {name: partial(way.images, z) for name, way in ways.items()}, arguments.repeats, arguments.seconds
        )
        for name, spent in found.items():
            speeds[name][str(size)] = size / spent
    streams = {name: partial(way.stream, arguments.stream, STREAM_BATCH) for name, way in ways.items()}
    for name, spent in in_turns(streams, max(1, arguments.repeats // 2), 0).items():
        speeds[name]["streamed"] = arguments.stream / spent
    return speeds


def table(speeds: dict[str, dict[str, float]]) -> str:
    """Markdown: images a second, and in the last row animegen's better as a share of the fastest fp32 peer."""
    columns = list(next(iter(speeds.values())))
    lines = [f"| way | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(f'{row[column]:,.0f}' for column in columns)} |" for name, row in speeds.items()]
    peers = [row for name, row in speeds.items() if not name.startswith("animegen") and name in FP32]
    ours = [row for name, row in speeds.items() if name.startswith("animegen")]
    if peers and ours:
        shares = [max(row[column] for row in ours) / max(row[column] for row in peers) for column in columns]
        lines.append(f"| animegen / fastest fp32 peer | {' | '.join(f'{share:.2f}' for share in shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="anime-face-64,anime-pixels-64")
    parser.add_argument("--ways", type=lambda text: text.split(";"), default=list(WAYS), help="names, with ; between")
    parser.add_argument("--batches", type=lambda text: [*map(int, text.split(","))], default=[1, 16, 64, 256])
    parser.add_argument("--stream", type=int, default=10_000, help="images of the stream, in batches of 16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="the least time of a repeat")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    paths = [find_model(name) for name in arguments.models.split(",")]
    if arguments.peak:
        WAYS[arguments.peak](paths[0], arguments.threads).stream(arguments.stream, STREAM_BATCH)
        # Not the peak that getrusage tells: that begins with what the starting process held.
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        print(next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:")))
        return
    print(", ".join(f"{key} {value}" for key, value in machine().items()), f"threads {arguments.threads}", sep=", ")
    print(f"medians of {arguments.repeats} turns of {arguments.seconds:g} s; a stream is {arguments.stream:,} images")
    found: dict[str, Any] = {}
    for path in paths:
        speeds = measure(path, arguments.threads, arguments)
        rate, needed = matrix_rate(arguments.threads, arguments.repeats), operations(path)
        print(f"\n{path.stem}: images/s by batch\n\n{table(speeds)}\n")
        allowed = f"{needed / 1e9:.3f} GFLOP an image: {rate / needed:,.0f} images/s"
        print(f"matrix products {rate / 1e9:.0f} GFLOP/s, {allowed}")
        alone = ", ".join(f"{name} {1000 / row[next(iter(row))]:.2f}" for name, row in speeds.items())
        print(f"ms for a batch of {arguments.batches[0]}: {alone}")
        found[path.stem] = {"images_per_second": speeds, "matrix_rate": rate, "operations": needed}
        if not arguments.no_memory:
            peaks = {name: peak_megabytes(name, path, arguments.threads, 1000) for name in arguments.ways}
            found[path.stem]["peak_megabytes"] = peaks
            print("peak MB:", ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
