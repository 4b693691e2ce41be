"""Two processes against one: the same global batch, the same gradients, the same run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, Run, run

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file
from torch import distributed as dist
from torch import nn

from train.config import load_config
from train.data import Dataset, DatasetGroup, DatasetLabels
from train.run import checkpoint
from train.run.log import METRICS, SESSIONS, read_rows
from train.step.processes import ALONE, Group, join, leave, parts
from train.step.trainer import Trainer

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch was built without gloo"
)

SMALL = ["size=16", "batch_size=8", "n_critic=1", "generator.width=4", "generator.z_dim=8", "critic.width=4"]
CASES = {
    "wgan-gp, closed form": ("wgan-gp-64", []),
    "wgan-gp, double backward": ("wgan-gp-64", ["critic.norm=instance"]),
    "BatchNorm on both sides": ("dcgan-anime64", ["label_noise=0.3"]),
    "R1 and R2, augmented": ("r3gan-64", ["augment=['color', 'translation', 'cutout']"]),
    "a penalty on three of eight images": ("wgan-gp-64", ["penalty_share=0.3"]),
    "R1 and R2 on one": ("r3gan-64", ["penalty_share=0.1"]),
    "labels": ("wgan-gp-64", ["labels=['*']"]),
    "labels, relativistic, BatchNorm on both sides": ("rgan-anime64", ["labels=['*']"]),
}


def coloured(count: int) -> DatasetLabels:
    """Labels of so many images; every third is unknown."""
    group = DatasetGroup(name="colour", classes=("blue", "red"), counts=(0, 0), unknown=0)
    return DatasetLabels((group,), (np.arange(count)[:, None] % 3 - 1).astype(np.int16))


def gradients(preset: str, settings: list[str], data: Path, group: Group = ALONE) -> dict[str, torch.Tensor]:
    """The gradients of a critic and a generator step, and the average's weights after one more round."""
    device = torch.device("cpu")
    config = load_config(preset, [*SMALL, *settings])
    images = Dataset.open(data).images
    trainer = Trainer(config, images, device=device, precision="fp32", group=group, labels=coloured(len(images)))
    values = {}
    trainer.critic_step(0)
    trainer.generator_step(0)
    for side in ("critic", "generator"):
        for name, parameter in getattr(trainer, side).named_parameters():
            values[f"{side} {name}"] = parameter.grad.clone(memory_format=torch.contiguous_format)
    # Their mean over the processes; a spread is no mean.
    values |= {name: torch.tensor(value) for name, value in trainer.train_step().items() if name != "spread"}
    for name, value in trainer.ema.state_dict().items():
        if value.is_floating_point():
            values[f"ema {name}"] = value.clone(memory_format=torch.contiguous_format)
    return values


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.slow
def test_the_gradients_of_two_processes_are_those_of_one(tiny_data: Path, tmp_path: Path) -> None:
    # Started as torchrun does, once for all cases: most of the time goes into importing torch.
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    command = [sys.executable, __file__, str(tiny_data), str(tmp_path)]
    workers = [
        subprocess.Popen(command, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, cwd=ROOT, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors.decode()
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    for number, (preset, settings) in enumerate(CASES.values()):
        alone = gradients(preset, settings, tiny_data)
        for rank in (0, 1):
            together = load_file(tmp_path / f"{number}-{rank}.safetensors")
            torch.testing.assert_close(together, alone, rtol=2e-3, atol=2e-5)


class Deaf(Group):
    """Known wrong: a process that never hears of the others' gradients."""

    def average_gradients(self, network: nn.Module) -> None:
        pass


def test_known_wrong_halves_without_a_sum_between_them(tiny_data: Path) -> None:
    # What each process would step with if its gradients were not averaged is far from the whole batch's.
    config, images = load_config("wgan-gp-64", SMALL), Dataset.open(tiny_data).images
    whole, half = (
        Trainer(config, images, device=torch.device("cpu"), precision="fp32", group=group)
        for group in (ALONE, Deaf(0, 2))
    )
    for trainer in (whole, half):
        trainer.critic_step(0)
    one, other = (torch.cat([p.grad.flatten() for p in t.critic.parameters()]) for t in (whole, half))
    assert one.shape == other.shape
    assert not torch.allclose(one, other, rtol=2e-3, atol=2e-5)


def test_parts_cover_the_batch_once() -> None:
    rows = [row for rank in range(3) for part in parts(24, Group(rank, 3), 2) for row in range(24)[part]]
    assert sorted(rows) == list(range(24))


@pytest.mark.slow
def test_a_run_of_two_processes(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    arguments = ["fit", *TINY, "--threads", 1, "--device", "cpu", "--log-every", 1, "--data", tiny_data, "--steps", 2]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    together = run(*torchrun, "-m", "train", *map(str, arguments), "--out", tmp_path / "two", cwd=ROOT)
    assert together.returncode == 0, together.stderr.decode()
    messages = together.stderr.decode()
    for name, steps in ((METRICS, [1, 2]), (SESSIONS, [0])):  # one of them writes
        assert [row["step"] for row in read_rows(tmp_path / "two" / name)] == steps
    assert "2 processes, each with 4 images of a batch" in messages
    assert messages.count("finished at step 2") == 1  # one of them talks
    alone = train(*arguments, "--out", tmp_path / "one")
    assert alone.returncode == 0
    assert checkpoint.read_card(tmp_path / "two" / checkpoint.NAME).processes == 2
    one, two = (load_file(tmp_path / name / checkpoint.NAME) for name in ("one", "two"))
    assert one.keys() == two.keys()
    averages = ({name: value for name, value in run.items() if name.startswith("ema")} for run in (one, two))
    torch.testing.assert_close(*averages, rtol=1e-2, atol=1e-4)


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    group, _ = join(torch.device("cpu"))
    for number, (preset, settings) in enumerate(CASES.values()):
        save_file(gradients(preset, settings, data, group), out / f"{number}-{group.rank}.safetensors")
    leave()
