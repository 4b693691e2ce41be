"""What the tests share: the commands, a tiny real model, tiny pictures, a tiny run. No weights, no network.

The commands run in this process, as click's runner calls them; `animegen_process` and `train_process` start real ones,
for what only those can show: one a command, exit statuses, signals, memory, what is imported.
"""

from __future__ import annotations

import io
import os

# Workers share the cores: one thread a process. Before numpy and torch are imported, which read it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for the tests that import onnxruntime before the package does
# Runs are compared to the last bit, so no clock may choose their precision.
os.environ["ANIMEGEN_TRAIN_FIT_PRECISION"] = "fp32"

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from extractor_models import write_extractor
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from animegen.labels import LabelGroup
from animegen.model.card import ModelCard

if TYPE_CHECKING:
    from page_server import Visits
    from playwright.sync_api import Browser, Playwright

    from animegen import Extractor

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).parent / "animegen"

Run = Callable[..., subprocess.CompletedProcess[bytes]]

TINY = [  # a WGAN-GP that trains hundreds of steps in a second or two
    *("--preset", "wgan-gp-64", "--set", "size=16", "--set", "batch_size=8", "--set", "n_critic=2"),
    *("--set", "generator.width=4", "--set", "generator.z_dim=8", "--set", "critic.width=4"),
]


def run(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with everything it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    words = [str(part) for part in command]
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, timeout=600, check=False, **options
    )
    return done


def invoke(
    main: click.Group, arguments: Sequence[str | Path | float], **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """A command called in this process, in the form of one that was run; what nobody foresaw is raised."""
    words = [str(part) for part in arguments]
    done = CliRunner().invoke(main, words, **options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout_bytes, done.stderr_bytes)


@pytest.fixture
def animegen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The `animegen` command, called in an empty folder."""
    from animegen.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return invoke(main, arguments, prog_name="animegen", **options)

    return call


@pytest.fixture
def animegen_process(tmp_path: Path) -> Run:
    """The installed `animegen` command as a process of its own, run in an empty folder."""

    def call(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return run(COMMAND, *arguments, **{"cwd": tmp_path, **options})

    return call


def train_in_process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """`python -m train`, called in this process."""
    pytest.importorskip("torch")
    from train.cli import main

    return invoke(main, arguments, prog_name="python -m train", auto_envvar_prefix="ANIMEGEN_TRAIN", **options)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`python -m train`, called in the checkout."""
    monkeypatch.chdir(ROOT)
    return train_in_process


@pytest.fixture
def train_process() -> Run:
    """`python -m train` as a process of its own, run in the checkout."""
    pytest.importorskip("torch")

    def call(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return run(sys.executable, "-m", "train", *arguments, **{"cwd": ROOT, **options})

    return call


def assert_error(done: subprocess.CompletedProcess[bytes], status: int, *words: str) -> None:
    """The command failed as promised: the exit status, one line on stderr that says these words, no data."""
    message = done.stderr.decode()
    assert done.returncode == status, message
    errors = [line for line in message.splitlines() if not line.startswith(("device: ", "engine: ", "fetching "))]
    assert len(errors) == 1, message
    assert errors[0].startswith("error: ")
    for word in words:
        assert word in errors[0]
    assert done.stdout == b""


def tiny_card(**changes: object) -> ModelCard:
    """A card that fits `tiny_graph`."""
    values: dict[str, object] = {
        "name": "tiny",
        "z_dim": 8,
        "image_shape": (3, 8, 8),
        "objective": "none",
        "recipe": {},
        "steps": 0,
        "images_seen": 0,
        "training_minutes": 0.0,
        "data": {},
        "licence": "MIT",
        "provenance": "random weights",
        "code_revision": "unknown",
        "checkpoint_sha256": "",
        "parity": {},
        **changes,
    }
    return ModelCard(**values)  # type: ignore[arg-type]


def tiny_graph(z_name: str = "z") -> onnx.ModelProto:
    """A generator with random weights, in the file format's own terms: latents [N, 8] → uint8 [N, 3, 8, 8]."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(0, 0.5, (8, 16, 4, 4)),
        "second": rng.normal(0, 0.3, (16, 3, 4, 4)),
    }
    nodes = [
        helper.make_node("Unsqueeze", [z_name, "axes"], ["z4"]),
        helper.make_node("ConvTranspose", ["z4", "first"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("ConvTranspose", ["a", "second"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["x"], ["y"]),
        helper.make_node("Mul", ["y", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["levels"]),
        helper.make_node("Round", ["levels"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["images"], to=TensorProto.UINT8),
    ]
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers += [
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array(127.5, np.float32), "half"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(z_name, TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 3, 8, 8])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


GROUPS = (
    LabelGroup("hair", ("blonde", "blue", "red"), (60, 30, 10)),
    LabelGroup("eyes", ("green", "grey"), (5, 7), unknown=4),
)


def conditional_graph(classes: int = 5) -> onnx.ModelProto:
    """The tiny generator with labels: [N, 8] and [N, 5] → uint8 [N, 3, 8, 8]."""
    model = tiny_graph()
    (first,) = (weight for weight in model.graph.initializer if weight.name == "first")
    more = np.random.default_rng(1).normal(0, 1.5, (classes, 16, 4, 4)).astype(np.float32)
    first.CopyFrom(numpy_helper.from_array(np.concatenate([numpy_helper.to_array(first), more]), "first"))
    model.graph.node[0].input[0] = "joined"
    model.graph.node.insert(0, helper.make_node("Concat", ["z", "labels"], ["joined"], axis=1))
    model.graph.input.append(helper.make_tensor_value_info("labels", TensorProto.FLOAT, ["batch", classes]))
    return model


def classifier() -> onnx.ModelProto:
    """A real ONNX model that is no generator: images in, one score out."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def write_model(path: Path, card: ModelCard | None, graph: onnx.ModelProto | None = None) -> Path:
    """Save a model file, with a card or without."""
    model = graph or tiny_graph()
    if card is not None:
        helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def grey_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator with one channel: [N, 8] → uint8 [N, 1, 8, 8]."""
    graph = tiny_graph()
    (second,) = (weight for weight in graph.graph.initializer if weight.name == "second")
    second.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(second)[:, :1].copy(), "second"))
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    card = tiny_card(name="grey", image_shape=(1, 8, 8))
    return write_model(tmp_path_factory.mktemp("grey") / "grey.onnx", card, graph)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a few kilobytes."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_card())


@pytest.fixture(scope="session")
def conditional_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of format 2: one that takes `GROUPS` beside the latent, and has a direction to edit along."""
    card = tiny_card(name="faces", labels=GROUPS, directions=((1.0, *[0.0] * 7),))
    return write_model(tmp_path_factory.mktemp("model") / "faces.onnx", card, conditional_graph())


@pytest.fixture(scope="session")
def tiny_extractor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an extractor of 6 features and 5 tags."""
    return write_extractor(tmp_path_factory.mktemp("extractor") / "tiny.onnx", weights_sha256="ab")


@pytest.fixture(scope="session")
def tiny_extractor(tiny_extractor_file: Path) -> Extractor:
    """That extractor, loaded once."""
    from animegen import Extractor

    return Extractor.load(tiny_extractor_file, device="cpu")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives Chromium; tests are skipped where either is missing."""
    from browsers import driver

    with driver() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Browser:
    """Debian's Chromium without a window, for the tests of a module."""
    from browsers import launched

    return launched(playwright)


@pytest.fixture
def visits(browser: Browser, address: str) -> Iterator[Visits]:
    """Visits of one test to the server at the module's `address`, which must have gone well."""
    from page_server import Visits

    these = Visits(browser, address)
    yield these
    these.close()


@pytest.fixture(scope="session")
def anime() -> Extractor:
    """The shipped extractor, loaded once."""
    from animegen import Extractor

    return Extractor.load("anime", device="cpu")


@pytest.fixture(scope="session")
def imagenet() -> Extractor:
    """The shipped general extractor, loaded once."""
    from animegen import Extractor

    return Extractor.load("imagenet", device="cpu")


def picture(number: int, size: tuple[int, int] = (20, 20)) -> Image.Image:
    """A picture of its own for each number: a coloured disc on a coloured ground."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: size[1], : size[0]]
    centre, radius = rng.uniform(0.3, 0.7, 2) * (size[1], size[0]), min(size) * rng.uniform(0.2, 0.4)
    disc = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)[..., None]
    return Image.fromarray(np.where(disc, rng.integers(0, 256, 3), rng.integers(0, 256, 3)).astype(np.uint8))


def picture_zip(path: Path, count: int, size: tuple[int, int] = (20, 20)) -> Path:
    """A zip of `count` pictures."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            buffer = io.BytesIO()
            picture(number, size).save(buffer, "PNG")
            archive.writestr(f"faces/{number}.png", buffer.getvalue())
    return path


def write_dataset(folder: Path, images: np.ndarray, **facts: object) -> Path:
    """A packed dataset of square images uint8 [N, H, W, C], as `prepare` writes it, but for changed facts; no torch."""
    from animegen.images.sets import pixel_hash

    count, size, _, channels = images.shape
    card = {"format": 1, "count": count, "size": size, "channels": channels, "resize": "centre square crop"}
    folder.mkdir()
    np.save(folder / "images.npy", images)
    card |= {"source": "faces", "sha256": pixel_hash(images), "broken": [], "ignored": 0, **facts}
    (folder / "dataset.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of 50 pictures of 16×16."""
    pytest.importorskip("torch")
    from train.data import prepare

    folder = tmp_path_factory.mktemp("data")
    prepare(picture_zip(folder / "faces.zip", 50), folder / "packed", size=16)
    return folder / "packed"


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 6 steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    limits = ("--steps", "6", "--log-every", "1", "--sample-every", "3", "--threads", "1", "--device", "cpu")
    done = train_in_process("fit", *TINY, "--data", tiny_data, "--out", folder, *limits)
    assert done.returncode == 0, done.stderr.decode()
    return folder


def write_mnist(root: Path, count: int) -> np.ndarray:
    """MNIST's four files with `count` training images of its own format (idx) under `root`; the images [N, 28, 28]."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for half in ("train", "t10k"):
        # Big-endian: two zero bytes, the type (8: uint8), the number of axes, each axis's length, the values.
        (folder / f"{half}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, *images.shape) + images.tobytes())
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + bytes(count))
    return images


def write_celeba(root: Path, count: int) -> list[Image.Image]:
    """The folder of CelebA's aligned faces under `root`, with `count` pictures of their size; what they decode to."""
    folder = root / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    faces = []
    for number in range(1, count + 1):
        picture(number, (178, 218)).save(folder / f"{number:06}.jpg")
        with Image.open(folder / f"{number:06}.jpg") as face:
            faces.append(face.convert("RGB"))
    return faces


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Closes a folder: it may not be read, nor what is in it looked at. No permission stops root, as in CI."""
    closed: set[str] = set()
    scan, look = os.scandir, Path.stat

    def scandir(path: Any) -> Iterator[os.DirEntry[str]]:
        if os.fspath(path) in closed:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    def status_of(path: Path, **options: Any) -> os.stat_result:
        if any(str(parent) in closed for parent in path.parents):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "stat", status_of)
    return lambda folder: closed.add(str(folder))
