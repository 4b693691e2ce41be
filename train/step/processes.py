"""Several processes that train one model: each computes its part of the global batch, and sums go between them.

Started by torchrun, which sets RANK, LOCAL_RANK and WORLD_SIZE. Gradients are averaged in one flat tensor after the
backward pass: torch's DDP hooks into a single backward pass, which a penalty's second gradient breaks.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from animegen.errors import DeviceError, UsageError


@dataclass(frozen=True)
class Group:
    """A process among all: its number, and how many there are. Alone, every sum is its own."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes and talks."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Make each parameter's gradient the mean over the processes."""
        if self.world > 1:
            gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            flat /= self.world
            means = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def average(self, values: Tensor) -> Tensor:
        """The mean of `values` over the processes; without gradient."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world
        return values

    def agree(self, word: str, device: torch.device) -> str:
        """What the leading process says, in all of them: a signal or a clock may reach each at another step."""
        if self.world == 1:
            return word
        letters = torch.zeros(32, dtype=torch.uint8, device=device)
        letters[: len(word)] = torch.tensor(list(word.encode()), dtype=torch.uint8)
        dist.broadcast(letters, 0)
        return bytes(letters.tolist()).rstrip(b"\0").decode()

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


ALONE = Group()


def join(device: torch.device) -> tuple[Group, torch.device]:
    """Join the other processes if torchrun started this one; with CUDA each takes the card of its local rank.

    Raises:
        DeviceError: more processes on this machine than GPUs.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE, device
    if device.type == "cuda":
        local, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= cards:
            raise DeviceError(
                f"torchrun started process {local + 1} of this machine, which has {cards} GPUs: "
                f"start at most {cards} with --nproc-per-node"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(dist.get_rank(), dist.get_world_size()), device


def leave() -> None:
    """Part from the other processes, if there were any."""
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()  # what still holds the group's threads would end them, and the process, at its exit


def parts(count: int, group: Group, accumulate: int) -> list[slice]:
    """The rows of a global batch of `count` images that this process computes, in `accumulate` parts of equal size.

    The parts take the rows in turn, so that each has as many of the first ones, which may have a penalty.

    Raises:
        UsageError: the batch can't be divided so.
    """
    apart = group.world * accumulate
    size, left = divmod(count, apart)
    if left or size < 2:
        raise UsageError(
            f"batch_size is {count} and must be so many times 2 images or more: {accumulate} parts for each of "
            f"{group.world} processes; change batch_size, accumulate or the processes"
        )
    first = group.rank * accumulate
    return [slice(k, count, apart) for k in range(first, first + accumulate)]
