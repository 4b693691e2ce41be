"""How long does a grid of 64 images take from nothing? Whole processes, in turns: this package, and short scripts.

    python benchmarks/cold_start.py --repeats 9

The scripts do what `animegen sample --n 64` does, with the same weights: one by ONNX Runtime alone, one by torch on a
traced copy of the network, which needs no class and so is the shortest that torch allows. It prints medians in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch_graph import TorchGraph

from animegen import Generator, find_model, latents
from animegen.checks.bench import machine

GRID = """
from PIL import Image
n, h, w, c = images.shape
Image.fromarray(images.reshape(8, 8, h, w, c).swapaxes(1, 2).reshape(8 * h, 8 * w, c)).save("grid.png")
"""
INPUTS = """
import numpy as np
z = np.stack([np.random.RandomState(k).standard_normal(128) for k in range(64)]).astype(np.float32)
# A model with labels is told nothing of them.
inputs = [z, np.zeros((64, {labels}), np.float32)][: 1 + ({labels} > 0)]
"""
ONNX_RUNTIME = """
import onnxruntime
session = onnxruntime.InferenceSession({path!r}, providers=["CPUExecutionProvider"])
names = [entry.name for entry in session.get_inputs()]
images = session.run(None, dict(zip(names, inputs)))[0].transpose(0, 2, 3, 1)
"""
TORCH = """
import torch
with torch.inference_mode():
    images = torch.jit.load("network.pt")(*map(torch.from_numpy, inputs)).permute(0, 2, 3, 1).numpy()
"""


def seconds(command: list[str], folder: Path) -> float:
    """The wall time of one process."""
    environment = {**os.environ, "PYTHONPATH": "", "ORT_DISABLE_TELEMETRY": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as where they are installed
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=quiet, stderr=quiet)
    return time.perf_counter() - began


def commands(model: str, folder: Path) -> dict[str, list[str]]:
    """What is timed, by name; the traced network and the scripts are put into the folder."""
    path = find_model(model).absolute()
    network = TorchGraph(path).eval()
    with Generator.load(path, device="cpu") as generator:
        labels = sum(len(group.classes) for group in generator.labels)
    example = [torch.from_numpy(latents.from_seeds(range(64), 128)), torch.zeros(64, labels)][: 1 + (labels > 0)]
    torch.jit.save(torch.jit.trace(network, tuple(example)), folder / "network.pt")  # type: ignore[no-untyped-call]
    inputs = INPUTS.format(labels=labels)
    (folder / "ort.py").write_text(inputs + ONNX_RUNTIME.format(path=str(path)) + GRID, encoding="utf-8")
    (folder / "torch_script.py").write_text(inputs + TORCH + GRID, encoding="utf-8")
    animegen = [sys.executable, "-m", "animegen"]
    return {
        "animegen sample --n 64": [*animegen, "sample", "--n", "64", "--model", model],
        "ONNX Runtime, a script": [sys.executable, "ort.py"],
        "torch, a script": [sys.executable, "torch_script.py"],
        "animegen --help": [*animegen, "--help"],
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", default="anime-face-64,anime-tags-64")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"seconds, median of {arguments.repeats} (fastest to slowest), in turns after one that isn't counted")
    for model in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as name:
            wanted = commands(model, Path(name))
            times: dict[str, list[float]] = {label: [] for label in wanted}
            for turn in range(1 + arguments.repeats):
                for label, command in wanted.items():
                    spent = seconds(command, Path(name))
                    times[label] += [spent] if turn else []
        ours = statistics.median(times["animegen sample --n 64"])
        print(f"\n{model}")
        for label, found in times.items():
            median = statistics.median(found)
            print(f"{label:24} {median:.3f} ({min(found):.3f} to {max(found):.3f}), {median / ours:.2f} of animegen's")


if __name__ == "__main__":
    main()
