"""The benchmark of a training step: both of its loops compute the same, and it runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, TINY

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from train.config import load_config
from train.step import draws
from train.step.real_images import RealImages
from train.step.trainer import Trainer

SCRIPT = ROOT / "benchmarks" / "train_step.py"
LOOPS, KINDS = ("textbook", "ours"), ("critic", "generator")


def script(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def train_step() -> ModuleType:
    """The benchmark of a training step."""
    return script(SCRIPT)


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("step", KINDS)
def test_both_loops_compute_the_same_gradients(step: str, train_step: ModuleType) -> None:
    config, cpu = load_config(TINY[1], TINY[3::2]), torch.device("cpu")
    images = train_step.random_images(config)
    trainer = Trainer(config, images, device=cpu, precision="fp32")
    textbook = train_step.Textbook(trainer, images)
    if step == "critic":
        real_images = RealImages(images, config.batch_size, cpu, resident=False)
        arrays = real_images.load(draws.critic_step(config, 0, len(images)))
        inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
        trainer.critic_step(0)
        textbook.critic_step(real_images.images(inputs), inputs["z"], inputs["epsilon"])
        ours, theirs = gradients(trainer.critic), gradients(textbook.critic)
        assert len(ours) == len(list(trainer.critic.parameters()))
    else:
        trainer.generator_step(0)
        textbook.generator_step(torch.from_numpy(draws.generator_step(config, 0, len(images))["z"]))
        ours, theirs = gradients(trainer.generator), gradients(textbook.generator)
        assert len(ours) == len(list(trainer.generator.parameters()))
        assert gradients(textbook.critic)  # the work that ours leaves out
    assert len(ours) == len(theirs)
    assert sum(gradient.norm() > 1e-3 for gradient in theirs) >= len(theirs) - 1  # the critic's last bias has none
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


def test_the_report(
    train_step: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = {kind: {loop: {"before": 200.0, "peak": 300.0} for loop in LOOPS} for kind in KINDS}
    monkeypatch.setattr(train_step, "memory_of_children", lambda _: memory)
    arguments = ["train_step.py", *TINY, "--steps", "1", "--repeats", "2", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    train_step.main()
    report = json.loads(capsys.readouterr().out)
    assert report["penalty"].startswith("closed form")
    assert {"processor", "device", "precision", "threads", "torch"} <= report.keys()
    for kind in KINDS:
        assert report["results"][kind]["ratio"]["median"] > 0
        for loop in LOOPS:
            speed = report["results"][kind][loop]
            assert 0 < speed["fastest_ms"] <= speed["median_ms"] <= speed["slowest_ms"]
    monkeypatch.setattr(sys, "argv", arguments)
    train_step.main()
    shown = capsys.readouterr().out
    for words in (
        "closed form",
        "device cpu",
        "images/s",
        "peak 300 MB",
        "critic    step, ratio",
        "2 critic steps and",
    ):
        assert words in shown


def test_peak_memory_is_that_of_a_process_of_its_own(train_step: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "LOOPS", LOOPS[:1])
    monkeypatch.setattr(train_step, "STEPS", KINDS[:1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    memory = train_step.memory_of_children([*TINY, "--device", "cpu"])["critic"]["textbook"]
    assert 50 < memory["before"] <= memory["peak"] < 3000


@pytest.mark.parametrize("wrong", ["--preset=no", "--set=n_critic=0"])
def test_bad_input(
    wrong: str, train_step: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_step.py", wrong])
    with pytest.raises(SystemExit, match="2"):
        train_step.main()
    assert "error: " in capsys.readouterr().err
