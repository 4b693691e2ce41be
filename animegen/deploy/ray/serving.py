"""The server's application behind Ray Serve: the same one as `animegen serve` runs, in each replica."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from animegen.deploy.ray.cluster import module, room
from animegen.errors import UsageError
from animegen.model.catalog import DEFAULT
from animegen.runtime import Device
from animegen.runtime.devices import Engine
from animegen.seeds import whole_number

NAME = "animegen"  # of the application on the cluster
_DRAIN = 30  # seconds that a replica which is to end has for what it accepted


@dataclass(frozen=True, kw_only=True)
class Service:
    """What each replica serves, and how many there are.

    Attributes:
        models: where each is loaded from, by the name that requests choose it by; the first is the default. Each
            machine of the cluster must find them: shipped names, addresses, or paths that all of them see.
        threads: the CPU threads of each replica.
        token: what clients must send as a bearer token.
        v2: whether the Open Inference Protocol is spoken too.
        least, most: replicas.
        ongoing: the requests of a replica that call for another one; twice as many wait in one at most.
    """

    models: Mapping[str, str] = field(default_factory=lambda: {DEFAULT: DEFAULT})
    device: Device = "cpu"
    engine: Engine = "onnxruntime"
    threads: int = 1
    token: str | None = None
    v2: bool = False
    least: int = 1
    most: int = 1
    ongoing: int = 64

    @property
    def gpus(self) -> int:
        """The GPUs of each replica."""
        return int(self.device in {"cuda", "tensorrt"})

    def __post_init__(self) -> None:
        """Refuse numbers of replicas that can't be.

        Raises:
            UsageError: one below 1, or more at least than at most.
        """
        for name in ("threads", "least", "most", "ongoing"):
            whole_number(name, getattr(self, name))
        if self.least > self.most:
            raise UsageError(f"{self.least} replicas at least and {self.most} at most were asked for: swap them")


def application(service: Service | Mapping[str, str]) -> Any:
    """An application of Ray Serve.

    Serve's own files name it as `import_path: animegen.deploy.ray:application`, with the fields of `Service` as `args`;
    `models` is then a text, such as `anime-face-64,mine=/shared/mine.onnx`.

    Raises:
        UsageError: a field that there isn't, or one of another kind.
        MissingPackageError: Ray isn't installed.
    """
    module(local=False)
    from ray import serve

    wanted = service if isinstance(service, Service) else _read(service)

    def build() -> Any:  # in the replica, whose own copy of the package it imports
        from animegen.generator import Generator
        from animegen.server import create_app

        generators = {
            name: Generator.load(source, device=wanted.device, threads=wanted.threads, engine=wanted.engine)
            for name, source in wanted.models.items()
        }
        return create_app(generators, token=wanted.token, v2=wanted.v2)

    class Replica:
        pass

    deployment = serve.deployment(
        name=NAME,
        max_ongoing_requests=2 * wanted.ongoing,
        graceful_shutdown_timeout_s=_DRAIN,
        ray_actor_options={
            "num_cpus": wanted.threads,
            "num_gpus": wanted.gpus,
        },
        autoscaling_config={
            "min_replicas": wanted.least,
            "max_replicas": wanted.most,
            "target_ongoing_requests": wanted.ongoing,
        },
    )
    return deployment(serve.ingress(build)(Replica)).bind()


@contextmanager
def serve(ray: Any, service: Service, *, host: str = "127.0.0.1", port: int = 8000) -> Iterator[None]:
    """Serve on the connected cluster inside the `with`; it is entered once the replicas answer.

    At its end they answer what they accepted. Ray Serve itself goes on, as it may serve others too: it ends with its
    cluster. Where it ran before, `host` and `port` are those that it was started with.

    Raises:
        DeviceError: the cluster has no room for the replicas.
        UsageError: the port is taken, or a replica doesn't start.
    """
    room(ray, cpus=service.threads, gpus=service.gpus, least=service.least)
    from ray import serve as ray_serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    try:
        ray_serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
        ray_serve.run(application(service), name=NAME, route_prefix="/", logging_config=quiet)
    except (RuntimeError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[-1][:300].removeprefix("RuntimeError: ")
        raise UsageError(f"Ray Serve can't start the server: {reason}") from error
    try:
        yield
    finally:
        ray_serve.delete(NAME)


def _read(arguments: Mapping[str, str]) -> Service:
    """The fields of a service from texts."""
    known = {entry.name: entry.type for entry in fields(Service)}
    values: dict[str, Any] = {}
    for name, text in arguments.items():
        if name not in known:
            raise UsageError(f"the application has no argument {name} and has {', '.join(known)}")
        if name == "models":
            pairs = [entry.partition("=") for entry in str(text).split(",")]
            values[name] = {key: source or key for key, _, source in pairs}
        elif known[name] == "int":
            values[name] = _number(name, str(text))
        else:
            values[name] = str(text).lower() == "true" if known[name] == "bool" else text
    return Service(**values)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{name} is {text!r} and must be a whole number")
    return int(text)
