"""The speed and memory of a training step of this project beside a textbook WGAN-GP loop, on the same networks.

    python benchmarks/train_step.py --preset wgan-gp-64

One process takes turns: some steps of the textbook loop, some of ours, and again, so that whatever else the machine
does falls on both. Peak memory is that of a child process for each loop and step: what torch allocated on CUDA, and on
the CPU the resident memory with all libraries (Linux only).
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from animegen.checks.bench import machine
from animegen.errors import AnimegenError
from animegen.images.stills import Images
from train.config import Config, load_config
from train.objective import penalty
from train.step.devices import Precision, choose_device, choose_precision, device_name
from train.step.trainer import Trainer

LOOPS, STEPS = ("textbook", "ours"), ("critic", "generator")


class Textbook:
    """Gulrajani et al. 2017, Algorithm 1, as tutorials write it, with nothing made faster.

    fp32 and contiguous memory; one critic call each for real, generated and interpolated images; the penalty by
    autograd through autograd; and a generator step whose backward pass also computes the critic's weight gradients.
    """

    def __init__(self, trainer: Trainer, images: Images) -> None:
        """Start from a copy of the trainer's networks."""
        self.config = trainer.config
        self.device = trainer.device
        self.images = images
        self.rng = np.random.default_rng(0)
        self.generator = copy.deepcopy(trainer.generator).to(memory_format=torch.contiguous_format)
        self.critic = copy.deepcopy(trainer.critic).to(memory_format=torch.contiguous_format)
        # Algorithm 1's own figures; no other would change the time of a step.
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=1e-4, betas=(0.0, 0.9))

    def real(self) -> Tensor:
        """A batch of real images [N, C, H, W] in [−1, 1]."""
        rows = self.rng.integers(0, len(self.images), self.config.batch_size)
        images = torch.from_numpy(self.images[rows]).to(self.device)
        return (images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()

    def latents(self) -> Tensor:
        """A batch of latents [N, z_dim]."""
        return torch.randn(self.config.batch_size, self.config.generator.z_dim, device=self.device)

    def epsilon(self) -> Tensor:
        """A number in [0, 1] for each image of a batch: [N]."""
        return torch.rand(self.config.batch_size, device=self.device)

    def critic_step(self, x_real: Tensor, z: Tensor, epsilon: Tensor) -> None:
        """Lines 4 to 9 of the algorithm, for a whole batch."""
        self.generator_adam.zero_grad()
        self.critic_adam.zero_grad()
        x_fake = self.generator(z).detach()
        weight = epsilon.view(-1, 1, 1, 1)
        x_hat = (weight * x_real + (1 - weight) * x_fake).requires_grad_()
        c_hat = self.critic(x_hat)
        (gradient,) = torch.autograd.grad(c_hat, x_hat, torch.ones_like(c_hat), create_graph=True)
        gradient_penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        loss = self.critic(x_fake).mean() - self.critic(x_real).mean() + self.config.lambda_gp * gradient_penalty
        loss.backward()
        self.critic_adam.step()

    def generator_step(self, z: Tensor) -> None:
        """Lines 11 and 12 of the algorithm."""
        self.generator_adam.zero_grad()
        self.critic_adam.zero_grad()
        loss = -self.critic(self.generator(z)).mean()
        loss.backward()
        self.generator_adam.step()


def random_images(config: Config) -> Images:
    """Four batches of noise: what the pixels show doesn't change the time of a step."""
    shape = (4 * config.batch_size, config.size, config.size, config.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def steps_of(textbook: Textbook, trainer: Trainer) -> dict[tuple[str, str], Callable[[], object]]:
    """What one step is, by loop and step."""
    return {
        ("textbook", "critic"): lambda: textbook.critic_step(textbook.real(), textbook.latents(), textbook.epsilon()),
        ("textbook", "generator"): lambda: textbook.generator_step(textbook.latents()),
        ("ours", "critic"): lambda: trainer.critic_step(0),
        ("ours", "generator"): lambda: trainer.generator_step(0),
    }


def seconds(step: Callable[[], object], times: int, device: torch.device) -> float:
    """The time of one step, over `times` of them."""
    began = time.perf_counter()
    for _ in range(times):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def measure(config: Config, device: torch.device, precision: Precision, times: int, repeats: int) -> dict[str, Any]:
    """Seconds a step for both loops, taken in turns, and how many times faster ours was in each turn."""
    images = random_images(config)
    trainer = Trainer(config, images, device=device, precision=precision)
    steps = steps_of(Textbook(trainer, images), trainer)
    table: dict[str, Any] = {"penalty": penalty.form_for(trainer.critic)}
    for kind in STEPS:
        for loop in LOOPS:  # the first steps choose kernels and allocate
            seconds(steps[loop, kind], 2, device)
        turns = [[seconds(steps[loop, kind], times, device) for loop in LOOPS] for _ in range(repeats)]
        table[kind] = {
            loop: {
                "images_per_second": config.batch_size / statistics.median(taken),
                **{f"{name}_ms": f(taken) * 1000 for name, f in
                   (("median", statistics.median), ("fastest", min), ("slowest", max))},
            }
            for loop, taken in zip(LOOPS, zip(*turns, strict=True), strict=True)
        }  # fmt: skip
        ratios = [textbook / ours for textbook, ours in turns]
        table[kind]["ratio"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    whole = [config.n_critic * table["critic"][loop]["median_ms"] + table["generator"][loop]["median_ms"]
             for loop in LOOPS]  # fmt: skip
    table["whole_step_ratio"] = whole[0] / whole[1]
    return table


def megabytes(config: Config, device: torch.device, precision: Precision, loop: str, kind: str) -> dict[str, float]:
    """The memory of this process before the first step, and its peak over a few steps of one kind of one loop."""
    images = random_images(config)
    trainer = Trainer(config, images, device=device, precision=precision)
    step = steps_of(Textbook(trainer, images), trainer)[loop, kind]
    before = torch.cuda.memory_allocated() / 2**20 if device.type == "cuda" else resident_megabytes("VmRSS")
    for _ in range(3):  # from the second on, the optimiser's state is there
        step()
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else resident_megabytes("VmHWM")
    return {"before": before, "peak": peak}


def resident_megabytes(field: str) -> float:
    """VmRSS, this process's memory now, or VmHWM, its peak. Not ru_maxrss: a child inherits its parent's peak there."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")) / 1024


def memory_of_children(arguments: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """The memory by step and loop, each in a child process."""
    return {
        kind: {
            loop: json.loads(subprocess.check_output([sys.executable, __file__, *arguments, "--memory-of", loop, kind]))
            for loop in LOOPS
        }
        for kind in STEPS
    }


def show(report: dict[str, Any]) -> None:
    """The report as text."""
    print(", ".join(f"{key} {report[key]}" for key in report if key not in ("results", "megabytes")))
    results, memory = report["results"], report["megabytes"]
    for kind in STEPS:
        for loop in LOOPS:
            row = results[kind][loop]
            line = f"{kind:9} step, {loop:8}  {row['images_per_second']:8.1f} images/s  {row['median_ms']:8.1f} ms "
            line += f"({row['fastest_ms']:.1f} to {row['slowest_ms']:.1f})"
            if memory:
                line += "  peak {peak:.0f} MB ({before:.0f} before the first step)".format(**memory[kind][loop])
            print(line)
        ratio = results[kind]["ratio"]
        print(f"{kind:9} step, ratio      {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})")
    print(f"{report['n_critic']} critic steps and a generator step: ratio {results['whole_step_ratio']:.2f}")


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="wgan-gp-64", help="one whose objective is wgan-gp")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="ours; theirs is fp32")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch's")
    parser.add_argument("--steps", type=int, default=3, help="steps in a turn")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each loop")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)  # what the children are asked for
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # Equal work: the textbook penalises every image, and knows no labels.
    settings = ["penalty_share=1.0", "labels=[]", *arguments.settings]
    try:
        config = load_config(arguments.preset, settings)
        device = choose_device(arguments.device)
    except AnimegenError as error:
        parser.error(str(error))
    if config.objective != "wgan-gp":
        parser.error(f"{arguments.preset} trains {config.objective}: the textbook loop is a wgan-gp")
    precision = choose_precision(arguments.precision, device)
    if arguments.memory_of:
        print(json.dumps(megabytes(config, device, precision, *arguments.memory_of)))
        return
    results = measure(config, device, precision, arguments.steps, arguments.repeats)
    report: dict[str, Any] = {
        **machine(),
        "torch": torch.__version__,
        "device": device_name(device),
        "precision": f"{precision} (textbook fp32)",
        "threads": torch.get_num_threads(),
        "penalty": f"{results.pop('penalty')} (textbook double backward)",
        "preset": " ".join([config.preset, *settings]),
        "batch_size": config.batch_size,
        "n_critic": config.n_critic,
        "turns": f"{arguments.repeats} of {arguments.steps} steps",
        "results": results,
        "megabytes": memory_of_children(sys.argv[1:]) if arguments.memory else None,
    }
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        show(report)


if __name__ == "__main__":
    main()
