"""What holds a session travels to other processes and machines as the call that loaded it: sessions can't be copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from animegen.errors import ModelError, UsageError


class Loaded(Protocol):
    """Something with the hash of the file that it was loaded from."""

    @property
    def sha256(self) -> str: ...


T = TypeVar("T", bound=Loaded)


def reduced(load: Callable[[], T] | None, sha256: str, name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What `__reduce__` gives, for pickle and copy: the call, and what the file has to be where it arrives.

    Raises:
        UsageError: there is no such call.
    """
    if load is None:
        raise UsageError(f"{name} was made from a session and can't be copied or pickled: load it from its file")
    return arrive, (load, sha256, name)


def arrive(load: Callable[[], T], sha256: str, name: str) -> T:
    """Load again.

    Raises:
        ModelError: the file isn't there, or isn't the one that was loaded before.
    """
    loaded = load()
    if loaded.sha256 != sha256:
        raise ModelError(
            f"{name} has the sha256 {loaded.sha256[:12]} where it arrived and {sha256[:12]} where it was copied: "
            "its file has changed"
        )
    return loaded
