"""Weights as fp16 in a safetensors file, with a card as JSON in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from animegen.files import replacing

SUFFIX = ".safetensors"
# What reading such a file can raise where it is another one: to be caught, and said in the words of who reads.
UNREADABLE = (SafetensorError, OSError, KeyError, TypeError, RuntimeError, msgspec.MsgspecError)
_KEY = "animegen"

Card = TypeVar("Card", bound=msgspec.Struct)


def write(path: Path, weights: Mapping[str, Tensor], card: msgspec.Struct) -> None:
    """Write the weights, rounded to fp16.

    Raises:
        OutputError: the file can't be written; nothing is left behind.
    """
    halves = {name: value.to("cpu", torch.float16).contiguous() for name, value in weights.items()}
    with replacing(path) as temporary:
        try:
            save_file(halves, temporary, {_KEY: msgspec.json.encode(card).decode()})
        except SafetensorError as error:  # it wraps a full disk
            raise OSError(str(error)) from error


def read_card(path: Path, kind: type[Card]) -> Card:
    """What the file says of itself; one of `UNREADABLE` is raised where it says nothing of this kind."""
    with safe_open(path, "pt") as file:
        return msgspec.json.decode(file.metadata()[_KEY], type=kind)
