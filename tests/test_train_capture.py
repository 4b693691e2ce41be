"""A step as a CUDA graph: the same training as without one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

pytest.importorskip("torch")

import torch

from train.config import SGD, load_config
from train.data import Dataset, DatasetGroup, DatasetLabels
from train.run import checkpoint
from train.run.open import Place, resume_run, start_run
from train.run.session import Limits
from train.step.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]

SMALL = [
    *("size=16", "batch_size=8", "generator.width=4", "generator.z_dim=8", "critic.width=4"),
    *("generator.kernel=4", "critic.kernel=4", "steps=100"),
]
RECIPES = {
    "wgan-gp-64": ["n_critic=2", "augment=['color', 'translation', 'cutout']", "penalty_every=2", "accumulate=2"],
    "anime-pixels-64": ["lr_decay=1.0"],
    "wgan-anime64": [],
    "dcgan-noisy-anime64": [],
    "ragan-anime64": ["n_generator=2"],
    "r3gan-64": [],
    "sngan-64": [],
    "wgan-gp-anime32-in": [],  # InstanceNorm: the penalty by double backward
    "anime-tags-64": ["labels=['*']"],
    "rgan-anime64": ["labels=['*']"],  # whose generator step has the labels of its real images
}


def trainer(data: Path, recipe: str, device: str, *settings: str) -> Trainer:
    config = load_config(recipe, [*SMALL, *RECIPES[recipe], *settings])
    images = Dataset.open(data).images
    group = DatasetGroup(name="colour", classes=("blue", "red"), counts=(0, 0), unknown=0)
    labels = DatasetLabels(
        (group,), (np.arange(len(images))[:, None] % 3 - 1).astype(np.int16)
    )  # every third is unknown
    return Trainer(config, images, device=torch.device(device), precision="fp32", labels=labels)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_captured_run_is_the_cpu_s(tiny_data: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # which rounds to 10 bits
    # A learning rate at which rounding doesn't grow: the steps are compared, not the chaos of a game.
    rates = ("critic_optimiser.lr=1e-6", "generator_optimiser.lr=1e-6")
    cpu, gpu = (trainer(tiny_data, recipe, device, *rates) for device in ("cpu", "cuda"))
    assert gpu.captures
    for _ in range(8):  # three to warm up, then replays
        expected, figures = cpu.train_step(), gpu.train_step()
        assert figures == pytest.approx(expected, rel=1e-2, abs=1e-3)
    kinds = {"generator", "ema", "critic, penalised" if cpu.config.penalised else "critic"}
    kinds |= {"critic"} if cpu.config.penalty_every > 1 else set()
    assert {name for name, update in gpu.updates.items() if update.captured} == kinds
    for name, value in cpu.ema.state_dict().items():
        torch.testing.assert_close(gpu.ema.state_dict()[name].cpu(), value, rtol=1e-3, atol=1e-4, check_stride=False)


def test_sgd_runs_without_a_graph(tiny_data: Path) -> None:
    config = structs.replace(load_config("wgan-gp-64", SMALL), critic_optimiser=SGD(lr=1e-3))
    tested = Trainer(config, Dataset.open(tiny_data).images, device=torch.device("cuda"), precision="bf16")
    assert not tested.captures
    for _ in range(5):
        tested.train_step()


def test_a_captured_run_resumes(tiny_data: Path, tmp_path: Path) -> None:
    config = load_config("anime-pixels-64", [*SMALL, "lr_decay=1.0"])
    place = Place(torch.device("cuda"), "bf16")
    for open_run, steps in ((start_run, 6), (resume_run, 12)):
        limits = Limits(steps=steps, log_every=1)
        session = open_run(tmp_path / "run", tiny_data, config, place=place, limits=limits)
        assert session.fit() == "finished"
    saved = tmp_path / "run" / checkpoint.NAME
    assert checkpoint.read_card(saved).step == 12
    again = trainer(tiny_data, "anime-pixels-64", "cuda")
    again.train_step()
    for _ in range(5):  # with its graphs captured, a rollback writes into the tensors that they use
        again.train_step()
    checkpoint.restore(saved, again)
    assert again.step == 12
    for name, value in session.trainer.critic.state_dict().items():
        assert torch.equal(again.critic.state_dict()[name], value)
    again.train_step()
    after = again.critic_optimiser.param_groups[0]["params"][0]
    assert float(again.critic_optimiser.state[after]["step"]) == 13 * config.n_critic


@pytest.mark.parametrize("recipe", ["anime-pixels-64", "r3gan-64", "ragan-anime64", "anime-tags-64"])
def test_a_compiled_run_is_the_cpu_s(tiny_data: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    rates = ("critic_optimiser.lr=1e-6", "generator_optimiser.lr=1e-6")
    cpu = trainer(tiny_data, recipe, "cpu", *rates)
    config, images = cpu.config, Dataset.open(tiny_data).images
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        gpu = Trainer(config, images, device=torch.device("cuda"), precision="fp32", compiled=True, labels=cpu.labels)
        for _ in range(6):
            assert gpu.train_step() == pytest.approx(cpu.train_step(), rel=5e-2, abs=5e-3)
