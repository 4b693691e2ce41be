"""How soon a fresh critic of a recipe tells the images of a finished generator from real ones.

    python benchmarks/critic.py --model models/anime-pixels-64.onnx --data data/faces64 --set critic.width=64

The generator stands still; the critic learns as in training, from all images but 2,000. Of these and of 2,000 new
images of the generator, the share of pairs is printed in which the critic values the real one higher: 0.5 is blind, 1
is never wrong. It says how much a generator can learn from such a critic, before any time is spent on training one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from animegen.bench import machine
from animegen.images import Images
from animegen.latents import from_seeds
from train.config import load_config
from train.data import Dataset
from train.devices import choose_device, choose_precision, device_name
from train.reals import to_float
from train.trainer import Trainer, to_uint8
from train.unfold import start_from_model

BATCH = 100


def values(trainer: Trainer, images: Images) -> NDArray[np.float32]:
    """The critic's value of each image."""
    found = []
    with torch.no_grad(), torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.precision == "bf16"):
        for start in range(0, len(images), BATCH):
            x = to_float(torch.from_numpy(np.array(images[start : start + BATCH])).to(trainer.device))
            found.append(trainer.critic(trainer.critic.view(x)).float().cpu())
    return torch.cat(found).numpy()


def share_told(real: NDArray[np.float32], generated: NDArray[np.float32]) -> float:
    """The share of pairs in which the real image has the higher value; equal ones count half."""
    order = np.sort(generated)
    below = np.searchsorted(order, real, "left") + np.searchsorted(order, real, "right")
    return float(below.mean() / (2 * len(generated)))


def generated(trainer: Trainer, count: int) -> Images:
    """Images of the seeds from 2³¹ on, which no training draws."""
    z = from_seeds(range(2**31, 2**31 + count), trainer.config.generator.z_dim)
    with torch.no_grad():
        parts = [trainer.ema(part.to(trainer.device)) for part in torch.from_numpy(z).split(BATCH)]
    return to_uint8(torch.cat(parts))


def main() -> None:
    """Train the critic alone, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a file that python -m train export wrote")
    parser.add_argument("--data", type=Path, required=True, help="the dataset that it was trained on")
    parser.add_argument("--preset", default="anime-face-64")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as python -m train fit has it")
    parser.add_argument("--steps", type=int, default=750, help="critic steps")
    parser.add_argument("--every", type=int, default=250, help="critic steps from one share to the next")
    parser.add_argument("--held-out", type=int, default=2000, help="images of each side to measure by")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = load_config(given.preset, [*given.set, "n_critic=1", f"critic_first={given.steps}"])
    dataset, device = Dataset.open(given.data), choose_device("auto")
    trainer = Trainer(
        config, dataset.images[given.held_out :], device=device, precision=choose_precision("auto", device)
    )
    start_from_model(given.model, trainer)
    fakes, rows, began = generated(trainer, given.held_out), [], time.monotonic()
    for step in range(1, given.steps + 1):
        figures = trainer.train_step()
        if step % given.every == 0:
            share = share_told(values(trainer, dataset.images[: given.held_out]), values(trainer, fakes))
            seconds = round(time.monotonic() - began, 1)
            rows.append({"step": step, "share_told": round(share, 3), "seconds": seconds})
            if not given.json:
                print(f"step {step}: {share:.3f} of the pairs told, W {figures['wasserstein']:.2f}, {seconds:.0f} s")
    if given.json:
        print(json.dumps({"machine": machine(), "device": device_name(device), "set": given.set, "rows": rows}))


if __name__ == "__main__":
    main()
