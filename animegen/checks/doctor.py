"""What of this installation works, tried for real, and what to do about the rest."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from animegen import __version__
from animegen.errors import AnimegenError
from animegen.generator import Generator
from animegen.model import catalog
from animegen.runtime import DEVICES, Device, wheels
from animegen.runtime.devices import Engine
from animegen.runtime.engines import INSTALL_OPENVINO, openvino_installed
from animegen.runtime.machine import available_cpus

State = Literal["ok", "absent", "fault"]

OPTIONAL = {
    "av": "MP4 files: pip install 'animegen[mp4]'",
    "openvino": f"another engine on a CPU: {INSTALL_OPENVINO}",
}
_TRIED_IMAGES = 16


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `absent` is no fault, as nothing asked for it."""

    name: str
    state: State
    text: str


def examine(device: Device = "auto") -> Iterator[Finding]:
    """Look at everything, one finding after the other. That a device that is asked for doesn't work is a fault."""
    yield Finding("animegen", "ok", f"{__version__} in {Path(__file__).parent.parent}")
    yield Finding(
        "python", "ok", f"{platform.python_version()} on {platform.platform()}, {available_cpus()} CPUs to use"
    )
    yield from _packages()
    installed = wheels.installed_wheels()
    yield _wheels(installed)
    if not installed:
        return
    yield Finding("providers", "ok", f"{', '.join(wheels.compiled_providers())} compiled in")
    required = {"cpu", "cuda" if device == "auto" and wheels.has_cuda_build() else device}
    if wheels.has_cuda_build():
        missing = wheels.missing_cuda_libraries()
        text = f"not found: {', '.join(missing)}; {wheels.how_to_install(missing)}" if missing else "all found"
        yield Finding("cuda libraries", "fault" if missing else "ok", text)
    if openvino_installed():
        yield _session("cpu", required=True, engine="openvino")
    for name in DEVICES:
        if name != "auto" and name in required | {"cuda"}:
            yield _session(name, required=name in required)
    yield from _models()


def _packages() -> Iterator[Finding]:
    for name in ("numpy", "pillow", "click", "rich"):
        yield Finding(name, "ok", importlib.metadata.version(name))
    for name, purpose in OPTIONAL.items():
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "absent", f"not installed; for {purpose}")


def _wheels(installed: dict[str, str]) -> Finding:
    versions = ", ".join(f"{name} {version}" for name, version in installed.items())
    if not installed:
        return Finding("onnx runtime", "fault", f"not installed: {wheels.INSTALL_CPU}, or 'animegen[gpu]' for CUDA")
    if len(installed) > 1:
        return Finding(
            "onnx runtime",
            "fault",
            f"{versions} overwrite each other in one folder: pip uninstall -y {' '.join(installed)}, then install the "
            "one you want with 'animegen[cpu]' or 'animegen[gpu]'",
        )
    return Finding("onnx runtime", "ok", versions)


def _session(device: Device, *, required: bool, engine: Engine = "onnxruntime") -> Finding:
    """A real session of the default model, and images from it."""
    where = device if engine == "onnxruntime" else f"{device} by {engine}"
    try:
        began = time.perf_counter()
        with Generator.load(device=device, engine=engine) as generator:
            loaded = time.perf_counter()
            generator.sample(1)
            first = time.perf_counter()
            generator.sample(_TRIED_IMAGES)
            done = time.perf_counter()
    except AnimegenError as error:
        return Finding(f"session on {where}", "fault" if required else "absent", str(error))
    return Finding(
        f"session on {where}",
        "ok",
        f"loaded in {loaded - began:.2f} s, first image after {first - loaded:.2f} s, then {_TRIED_IMAGES} in "
        f"{done - first:.2f} s",
    )


def _models() -> Iterator[Finding]:
    models = catalog.shipped_models()
    if not models:
        yield Finding("models", "fault", "none is shipped with this installation: install animegen again")
    for name, path in models.items():
        try:
            with Generator.load(path, device="cpu") as generator:
                steps = generator.card.steps
        except AnimegenError as error:
            yield Finding(f"model {name}", "fault", str(error))
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size / 1e6
        yield Finding(f"model {name}", "ok", f"{size:.1f} MB, {steps} steps, sha256 {digest}")
