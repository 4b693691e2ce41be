"""The halving and doubling layers of a critic as matrix products, beside torch's own: forward and backward, in bf16.

    python benchmarks/convolution.py

Each row is a layer of the widths 64 and 96, at the batches that a training step has. `train/convolution.py` takes the
product while its positions are at most 4 for each channel. On a CPU without matrix units there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from animegen.bench import machine
from train import convolution

LAYERS = ((64, 32, 128), (96, 32, 192), (128, 16, 256), (192, 16, 384), (256, 8, 512), (384, 8, 768))
BATCHES = (16, 32, 64)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after two that don't count."""
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[2:])


def there_and_back(layer: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """A call that computes the layer, and its gradients by its input and its weights."""

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.backward(torch.ones_like(y))

    return call


def rows(repeats: int) -> list[dict[str, Any]]:
    """Every layer at every batch, as torch's and as a product, in turns."""
    found = []
    for batch in BATCHES:
        for before, side, after in LAYERS:
            torch.manual_seed(0)
            own = convolution.Convolution(before, after, 4, 2, 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            plain = nn.Conv2d(before, after, 4, 2, 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            x = torch.randn(batch, before, side, side).to(torch.bfloat16, memory_format=torch.channels_last)
            x.requires_grad_()
            times = {"torch": milliseconds(there_and_back(plain, x), repeats)}
            most, convolution._MOST_POSITIONS = convolution._MOST_POSITIONS, 2**62
            times["product"] = milliseconds(there_and_back(own, x), repeats)
            convolution._MOST_POSITIONS = most
            positions = batch * (side // 2) ** 2 / ((before + after) / 2)
            found.append(
                {
                    "batch": batch,
                    "layer": f"{before}×{side}×{side} → {after}×{side // 2}×{side // 2}",
                    "positions_a_channel": round(positions, 1),
                    **{name: round(value, 2) for name, value in times.items()},
                    "taken": positions <= most,
                }
            )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not convolution._matrix_units():
        parser.exit(1, "error: this CPU has no matrix units (AMX), so the layers are always torch's own here\n")
    found = rows(given.repeats)
    if given.json:
        print(json.dumps({"machine": machine(), "threads": given.threads, "repeats": given.repeats, "rows": found}))
        return
    print(
        "| batch | layer | positions a channel | torch, ms | product, ms | ratio | taken |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in found:
        ratio = row["torch"] / row["product"]
        print(f"| {row['batch']} | {row['layer']} | {row['positions_a_channel']} | {row['torch']} | {row['product']} "
              f"| {ratio:.2f} | {'yes' if row['taken'] else 'no'} |")  # fmt: skip


if __name__ == "__main__":
    main()
