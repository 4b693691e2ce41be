"""A Ray cluster: one that is there, or one of this machine alone that ends with the work."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from animegen.errors import DeviceError, MissingPackageError
from animegen.runtime.machine import available_cpus

OBJECT_STORE = 128  # MB: what passes between workers are seeds and counts; Ray itself takes a third of the memory
_PATIENCE = 10  # seconds
_LONGEST_FOLDER = 40  # signs: sockets are made some 60 below it, and their paths have 107


@contextmanager
def connected(
    address: str | None = None, *, cpus: int | None = None, object_store: int = OBJECT_STORE
) -> Iterator[Any]:
    """The module `ray`, connected inside the `with` to the cluster at `address`, or else to one of this machine alone.

    Such a one has `cpus` CPUs, all that this process may use by default, and `object_store` MB to share. It asks for a
    token that only its own processes know, writes none to the home directory, sends no usage statistics, and its files
    are gone when it ends.

    Raises:
        MissingPackageError: Ray isn't installed.
        DeviceError: the cluster can't be reached, or none can be started.
    """
    ray = module(local=address is None)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": "animegen"}
    with _folder() as folder:
        signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if address is None:
                ray.init(
                    address="local",
                    num_cpus=cpus or available_cpus(),
                    object_store_memory=object_store * 2**20,
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=folder,
                    **quiet,
                )
            else:
                _check_answers(address)
                ray.init(address=address, **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = "no Ray cluster can be started here" if address is None else f"{address} is no Ray cluster in reach"
            raise DeviceError(f"{where}: {str(error).strip().partition(chr(10))[0][:200]}") from error
        try:
            _set(signals)
            yield ray
        finally:
            ray.shutdown()


def room(ray: Any, *, cpus: int, gpus: int, least: int = 1) -> int:
    """For how many processes of so many CPUs and GPUs the cluster's machines have room, whatever runs there now.

    Raises:
        DeviceError: for fewer than `least`; Ray itself would wait for ever.
    """
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    rooms = [machine.get("CPU", 0) // cpus for machine in machines]
    if gpus:
        rooms = [min(room, machine.get("GPU", 0) // gpus) for room, machine in zip(rooms, machines, strict=True)]
    found = int(sum(rooms))
    if found < least:
        each = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
        raise DeviceError(f"the Ray cluster has room for {found} processes of {each} each and must have it for {least}")
    return found


def _check_answers(address: str) -> None:
    """Raise OSError where nothing listens at `host:port`: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and "//" not in host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _set(signals: Mapping[signal.Signals, Any]) -> None:
    """Handle these signals as before: Ray ends the process at once, with an exit status of its own."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in signals.items():
            signal.signal(number, handler)


def module(*, local: bool) -> Any:
    """The module `ray`, told before its import to send no statistics, and for a local cluster to ask for a token.

    Raises:
        MissingPackageError: it isn't installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors come as Python's; these lines repeat them
    if local and "RAY_AUTH_MODE" not in os.environ:
        # Its ports are open to the whole network, and who has the token may run any code. Ray would make one and
        # leave it in the home directory; this one is the environment's, which Ray's processes inherit.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingPackageError("Ray isn't installed: pip install 'animegen[ray]'") from error
    return ray


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for Ray's sockets and logs, with a path that is short enough for them."""
    above = None if len(tempfile.gettempdir()) <= _LONGEST_FOLDER - 20 else "/tmp"  # noqa: S108 (mkdtemp makes it ours)
    with tempfile.TemporaryDirectory(prefix="animegen-", dir=above, ignore_cleanup_errors=True) as folder:
        yield folder
