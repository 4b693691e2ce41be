"""The benchmarks of inference: their peers run the same weights, and this package isn't left behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT, run

from animegen import Generator, find_model, latents

pytest.importorskip("torch")

MODEL = "anime-pixels-64"


@pytest.fixture(scope="module")
def inference() -> Iterator[ModuleType]:
    """The benchmark, which imports its neighbours."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("inference")
    sys.path.pop(0)


@pytest.mark.parametrize("model", ["anime-face-64", MODEL])
def test_torch_runs_the_weights_of_the_file(model: str, inference: ModuleType) -> None:
    images = inference.WAYS["torch"](find_model(model), 1).images(latents.from_seeds(range(4), 128))
    with Generator.load(model, device="cpu") as generator:
        apart = generator.sample(4).astype(int) - images.transpose(0, 2, 3, 1)
    assert np.abs(apart).max() <= 1


def test_operations_are_those_of_the_convolutions(inference: ModuleType, tiny_model: Path) -> None:
    # 8 values by 16 maps of 4×4, once; then 16 pixels of 16 maps by 3 maps of 4×4.
    assert inference.operations(tiny_model) == 2 * (8 * 16 * 16 + 16 * 16 * 3 * 16)


def test_the_table_sets_animegen_beside_the_fastest_fp32_peer(inference: ModuleType) -> None:
    speeds = {
        "animegen": {"1": 90.0},
        "ONNX Runtime": {"1": 60.0},
        "OpenVINO": {"1": 100.0},
        "torch, bf16": {"1": 200.0},
    }
    assert inference.table(speeds).splitlines()[-1] == "| animegen / fastest fp32 peer | 0.90 |"


def test_it_prints_what_it_measured() -> None:
    command = (
        sys.executable,
        ROOT / "benchmarks" / "inference.py",
        "--models",
        MODEL,
        "--ways",
        "animegen;ONNX Runtime",
    )
    done = run(*command, *["--batches", "2", "--stream", "32", "--repeats", "1", "--seconds", "0.01", "--no-memory"])
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "| way | 2 | streamed |" in text
    assert "GFLOP an image" in text


def test_a_stream_keeps_up_with_onnx_runtime_itself(inference: ModuleType) -> None:
    """A guard against mistakes, not a measurement: other work may take a core at any time."""
    ways = {
        name: inference.WAYS[name](find_model(MODEL), 2) for name in ("animegen", "ONNX Runtime", "ONNX Runtime, lanes")
    }
    times = inference.in_turns({name: lambda way=way: way.stream(96, 16) for name, way in ways.items()}, 3, 0)
    assert times["animegen"] < 2.5 * min(times["ONNX Runtime"], times["ONNX Runtime, lanes"])
