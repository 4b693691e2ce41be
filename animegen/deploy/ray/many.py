"""Many images by Ray Data: workers draw ranges of seeds into one folder, the same files as `animegen sample`."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Generator as Generating
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import Any

from animegen.deploy.files import model_files
from animegen.deploy.ray.cluster import room
from animegen.errors import AnimegenError, ModelError, OutputError
from animegen.generator import Generator
from animegen.images.sinks import Describe, Existing, Folder
from animegen.labels import Wanted
from animegen.model.catalog import find_model, shipped_models
from animegen.model.foreign import Overrides
from animegen.runtime import CudaOptions, Device
from animegen.runtime.devices import Engine
from animegen.seeds import Seeds

_CHUNK = 256  # seeds: seconds of work, and nothing beside what Ray takes to hand it over
_MOST_CHUNKS = 10_000  # each is an object of Ray's
_FOR_A_WORKER = 8  # chunks at least, so that all end at about the same time


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is to be drawn, how, and where it goes; what is not said is as in `Generator.sample` and `open_sink`.

    Attributes:
        model: a shipped model's name, or the path or address of a file, which the workers are sent.
        seeds: of the images.
        folder: where the pictures go; all workers must see it under this path.
        threads: the CPU threads of each worker.
        engine: of all workers. Not `auto`: each would choose its own, and their pictures differ by a level at times.
    """

    model: str | Path
    seeds: Seeds
    folder: Path
    form: str = "png"
    existing: Existing = "refuse"
    suffix: str = ""
    metadata: Describe | None = None
    labels: Wanted | None = None
    truncation: float = 1.0
    batch_size: int | None = None
    device: Device = "cpu"
    threads: int = 1
    overrides: Overrides | None = None
    cuda: CudaOptions | None = None
    engine: Engine = "onnxruntime"

    @property
    def gpus(self) -> int:
        """The GPUs of each worker. With `auto` it has none: Ray shows a worker only those that it asked for."""
        return int(self.device in {"cuda", "tensorrt"})

    def sink(self) -> Folder:
        """The folder, which is made if it isn't there."""
        return Folder(self.folder, form=self.form, existing=self.existing, suffix=self.suffix, metadata=self.metadata)

    def check(self) -> None:
        """Refuse, before any work, a folder that can't take the pictures.

        Raises:
            OutputError: it can't be made, or holds one of them and what exists is to be kept.
        """
        self.sink().missing(self.seeds)


@dataclass(frozen=True)
class Chunk:
    """A part that is done: how many seeds it had, and how many of their pictures were made."""

    seeds: int
    made: int


def draw(ray: Any, recipe: Recipe, *, workers: int | None = None) -> Generating[Chunk, None, None]:
    """Draw what a recipe says, on as many workers as the cluster has CPUs or GPUs for, or on `workers`.

    Gives each chunk once its pictures are in the folder, lazily: who stops taking them stops the work, and what is
    there is whole.

    Raises:
        DeviceError: no machine of the cluster has so many CPUs, or a GPU.
        OutputError: a picture is there and is to be kept, the folder isn't the same one for all, or Ray gave up.
        AnimegenError: what a worker met, as in `Generator.sample` and the sinks.
    """
    from ray import data

    recipe.check()
    folder = recipe.folder.absolute()
    # Whatever is there by now is this work's own, if Ray does a part of it again.
    recipe = replace(recipe, folder=folder, existing="skip" if recipe.existing == "skip" else "overwrite")
    most = room(ray, cpus=recipe.threads, gpus=recipe.gpus)
    workers = workers or most
    with _mark(folder) as mark:
        results = _dataset(recipe, workers).map_batches(
            _worker(recipe, mark, _model(ray, recipe.model)),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=recipe.threads,
            num_gpus=recipe.gpus,
        )
        try:
            for row in results.iter_rows():
                if row["error"]:
                    raise _error(row["kind"], row["error"])
                yield Chunk(row["seeds"], row["made"])
        except ray.exceptions.RayError as error:
            raise OutputError(f"Ray gave up: {str(error).strip().splitlines()[-1][:300]}") from error


def _dataset(recipe: Recipe, workers: int) -> Any:
    """The chunks as ranges of places among the seeds, an item each.

    Not `ray.data.range`: it is read by tasks that want CPUs, and where workers hold all of them it waits for ever.
    """
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells its plan, and that it shows no bars
    data.DataContext.get_current().enable_progress_bars = False
    count = len(recipe.seeds)
    size = max(1, min(_CHUNK, count // (_FOR_A_WORKER * workers)), count // _MOST_CHUNKS)
    items = [{"start": start, "stop": min(count, start + size)} for start in range(0, count, size)]
    return data.from_items(items, override_num_blocks=len(items))


def _worker(recipe: Recipe, mark: Path, model: str | Any) -> type:
    """The class of Ray's workers. A closure: what is passed to a worker's constructor Ray keeps and complains of."""

    class Draw:
        def __init__(self) -> None:
            self._generator: Generator | None = None

        def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
            start, stop = int(batch["start"][0]), int(batch["stop"][0])
            try:
                if self._generator is None:
                    if not mark.exists():
                        raise OutputError(
                            f"{recipe.folder} on {gethostname()} is another folder than here and must be the same on "
                            "all machines of the cluster: name one that they share"
                        )
                    self._generator = _loaded(recipe, model)
                made, kind, error = _drawn(recipe, self._generator, start, stop), "", ""
            except AnimegenError as met:
                made, kind, error = 0, type(met).__name__, str(met)
            return {"seeds": [stop - start], "made": [made], "kind": [kind], "error": [error]}

    return Draw


def _drawn(recipe: Recipe, generator: Generator, start: int, stop: int) -> int:
    """In a worker: draw the seeds from one place to another; how many pictures were made."""
    sink = recipe.sink()
    with sink:
        missing = sink.missing(recipe.seeds[start:stop])
        pairs = generator.pairs(
            missing, labels=recipe.labels, truncation=recipe.truncation, batch_size=recipe.batch_size
        )
        return sum(1 for _ in sink.write(pairs))


def _model(ray: Any, model: str | Path) -> str | Any:
    """What workers find the model by: the name of a shipped one, or a reference to its files, which Ray sends them."""
    if str(model) in shipped_models():
        return str(model)
    path = find_model(model)
    return ray.put([(str(place), file.read_bytes()) for file, place in model_files(path, path.name)])


def _loaded(recipe: Recipe, model: str | Any) -> Generator:
    """In a worker: the generator."""
    options: dict[str, Any] = {"overrides": recipe.overrides, "cuda": recipe.cuda}
    options |= {"device": recipe.device, "threads": recipe.threads, "engine": recipe.engine}
    if isinstance(model, str):
        return Generator.load(model, **options)
    import ray

    with tempfile.TemporaryDirectory(prefix="animegen-") as folder:
        files = [(Path(folder) / place, data) for place, data in ray.get(model)]
        for path, data in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return Generator.load(files[0][0], **options)


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """A file by which a worker knows the folder as the same as here."""
    mark = folder / f".{secrets.token_hex(8)}.ray"
    try:
        mark.touch()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror or error}") from error
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _error(kind: str, text: str) -> AnimegenError:
    """A worker's error, of its own class."""
    known = {error.__name__: error for error in AnimegenError.__subclasses__()}
    return known.get(kind, ModelError)(text)
