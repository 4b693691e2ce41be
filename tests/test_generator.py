"""The library as its users call it, on a tiny real model."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from operator import length_hint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from conftest import tiny_card, tiny_graph, write_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from animegen import DataError, Generator, ModelError, Overrides, Seeds, UsageError, grid, latents
from animegen.runtime import Session
from animegen.runtime.machine import available_cpus


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> Iterator[Generator]:
    with Generator.load(tiny_model, device="cpu") as loaded:
        yield loaded


def test_a_sample(generator: Generator) -> None:
    images = generator.sample(5, seed=3)
    assert images.shape == (5, 8, 8, 3)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert len(np.unique(images)) > 50
    assert generator.device == "cpu"


def test_the_image_is_the_graph_s_own(generator: Generator) -> None:
    # The same arithmetic in numpy, from the seed to the rounded level, one pixel of one image.
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in tiny_graph().graph.initializer}
    z = np.random.RandomState(9).standard_normal(8).astype(np.float32)
    hidden = np.maximum(np.einsum("z,zchw->chw", z, weights["first"]), 0)
    padded = np.zeros((3, 10, 10), np.float32)
    for y in range(4):
        for x in range(4):
            padded[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += np.einsum(
                "c,cohw->ohw", hidden[:, y, x], weights["second"]
            )
    levels = np.tanh(padded[:, 1:-1, 1:-1]) * 127.5 + 127.5
    assert np.abs(generator.sample(seed=9)[0].transpose(2, 0, 1) - levels).max() <= 0.5 + 1e-3


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1 - 40), n=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_a_seed_names_an_image_whatever_the_batch(generator: Generator, seed: int, n: int, batch_size: int) -> None:
    together = generator.sample(n, seed=seed, batch_size=batch_size)
    k = (seed + batch_size) % n
    np.testing.assert_array_equal(together[k], generator.sample(seed=seed + k)[0])


def test_seeds_in_any_order(generator: Generator) -> None:
    plain = generator.sample(10, seed=100)
    np.testing.assert_array_equal(generator.sample(seeds=[107, 100, 107]), plain[[7, 0, 7]])


def test_an_empty_batch_gives_an_empty_array(generator: Generator, edit_generator: Generator) -> None:
    none = np.zeros((0, 8), np.float32)
    for images in (
        generator.sample(seeds=[]),
        generator(none),
        generator(none, batch_size=3),
    ):
        assert images.shape == (0, 8, 8, 3)
        assert images.dtype == np.uint8
    assert edit_generator.edit(5, 0, []).shape == (0, 8, 8, 3)
    assert [*generator.stream([])] == [*generator.pairs([])] == [*generator.frames(none)] == []
    assert [*generator.frames(none[:, None])] == []


INTEGERS: list[Callable[[int], Any]] = [np.uint16, np.int64, np.array, lambda number: np.array([number], np.uint32)[0]]


@pytest.fixture(params=[*range(len(INTEGERS)), "torch"])
def integer(request: pytest.FixtureRequest) -> Callable[[int], Any]:
    """What makes an integer of another kind."""
    if request.param == "torch":
        return cast(Callable[[int], Any], pytest.importorskip("torch").tensor)
    return INTEGERS[cast(int, request.param)]


def test_integers_of_any_kind_are_taken_at_their_value(
    edit_generator: Generator, tiny_model: Path, integer: Callable[[int], Any]
) -> None:
    generator = edit_generator
    seed, n = 65_534, 4  # the last two don't fit into 16 bits
    expected = generator.sample(n, seed=seed)
    assert len(expected) == 4
    np.testing.assert_array_equal(generator.sample(integer(n), seed=integer(seed), batch_size=integer(3)), expected)
    np.testing.assert_array_equal(generator.sample(seeds=[integer(seed + k) for k in (0, 1)]), expected[:2])
    pairs = list(generator.pairs([integer(seed)]))
    assert [(type(name), name) for name, _ in pairs] == [(int, seed)]
    np.testing.assert_array_equal(generator.sample(integer(300), batch_size=integer(200)), generator.sample(300))
    way = generator.interpolate(integer(1), integer(2), integer(5), steps=integer(200))
    np.testing.assert_array_equal(way, generator.interpolate(1, 2, 5, steps=200))
    walk = [*generator.walk([integer(1), integer(2)], frames=integer(40_000))][::1000]
    np.testing.assert_array_equal(walk, [*generator.walk([1, 2], frames=40_000)][::1000])
    np.testing.assert_array_equal(generator.edit(integer(5), integer(1), [1]), generator.edit(5, 1, [1]))
    assert Generator.load(tiny_model, device="cpu", threads=integer(1)).threads == 1


def test_small_integers_do_not_wrap_around(generator: Generator) -> None:
    most: Any = np.uint8(200)
    np.testing.assert_array_equal(generator.sample(most, seed=most), generator.sample(200, seed=200))
    walk = [*generator.walk([1, 2, 3], frames=most)]
    np.testing.assert_array_equal(walk, [*generator.walk([1, 2, 3], frames=200)])
    assert Seeds.starting(7, 300)[np.int8(-1)] == 306


@pytest.mark.parametrize("value", [2.0, "2", None, True, np.float32(2), np.bool_(True), np.array([1, 2])])
def test_what_is_no_integer(generator: Generator, value: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: generator.sample(value),
        lambda: generator.sample(1, seed=value),
        lambda: generator.interpolate(1, 2, steps=value),
        lambda: generator.walk([1, 2], frames=value),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="must be a whole number"):
            call()


# --- what doesn't fit into memory is refused before any work ---


def test_more_than_memory_holds_is_refused(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animegen.runtime.machine.available_memory", lambda: 300_000_000)
    monkeypatch.setattr(Session, "run", lambda *_: pytest.fail("it began"))
    many, z = 2_000_000, latents.from_seeds([0], 8)
    wide = np.broadcast_to(z, (many, 8))
    calls: list[Callable[[], object]] = [
        lambda: generator.sample(many),
        lambda: generator.interpolate(1, 2, steps=many),
        lambda: generator.walk([1, 2], frames=many),
        lambda: generator.stream(range(many), batch_size=many),
        lambda: generator.pairs(Seeds.starting(0, many), batch_size=many),
        lambda: generator.frames(wide, batch_size=many),
        lambda: generator(wide),
    ]
    for call in calls:
        with pytest.raises(DataError, match=r"take some .* GB of memory, and 0\.3 GB are left: ask for fewer"):
            call()
    generator.stream(range(many))  # lazily, and in batches that fit
    generator.stream(range(4), batch_size=many)


def test_a_batch_that_onnx_runtime_has_no_memory_for(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tiny_model, device="cpu")
    for error in (MemoryError(), RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for 12 bytes")):

        def run(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(session._graphs, "for_this_call", lambda run=run: SimpleNamespace(run=run))
        with pytest.raises(ModelError, match=r"tiny\.onnx failed to run: .*: take a smaller batch_size$"):
            session.run({})


@pytest.mark.parametrize("truncation", [float("nan"), float("inf"), -float("inf"), -0.1, np.float32("nan")])
def test_truncations_that_are_no_share(generator: Generator, truncation: float) -> None:
    for call in (generator.sample, lambda **options: generator.walk([1, 2], **options)):
        with pytest.raises(UsageError, match=r"truncation is .* and must be from 0"):
            call(truncation=truncation)


@pytest.mark.parametrize("threads", [0, -1, 999_999_999_999, 2.0])
def test_threads_out_of_range(tiny_model: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match=rf"threads is {threads} and must be .*from 1 to \d+: more than"):
        Generator.load(tiny_model, device="cpu", threads=threads)


# --- copies ---


def unpickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 (our own)


def test_a_copy_loads_again(edit_generator: Generator) -> None:
    expected = edit_generator.sample(3)
    copies = (copy.copy(edit_generator), copy.deepcopy([edit_generator])[0], unpickled(pickle.dumps(edit_generator)))
    for copied in copies:
        with copied as generator:
            assert generator is not edit_generator
            assert (generator.card, generator.signature) == (edit_generator.card, edit_generator.signature)
            np.testing.assert_array_equal(generator.sample(3), expected)
    edit_generator.sample(1)  # their end is not its own


def test_a_copy_has_the_options_of_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "foreign.onnx", None, tiny_graph("noise"))
    monkeypatch.chdir(tmp_path)
    options = {"device": "cpu", "threads": 2, "overrides": Overrides(z_dim=8)}
    data = pickle.dumps(Generator.load("foreign.onnx", **options))  # type: ignore[arg-type]
    monkeypatch.chdir("/")
    arrived = unpickled(data)
    assert (arrived.device, arrived.threads, arrived.is_foreign) == ("cpu", 2, True)
    assert b"foreign.onnx" in data
    assert str(tmp_path).encode() not in pickle.dumps(Generator.load("anime-pixels-64", device="cpu"))


def test_a_pool_takes_a_generator(generator: Generator) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(generator.sample, (4,), {"seed": 9}), generator.sample(4, seed=9))


def test_generators_that_cannot_travel(tiny_model: Path, tmp_path: Path) -> None:
    joined = Generator(Session(tiny_model, device="cpu"), tiny_card())
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(UsageError, match="tiny was made from a session and can't be copied or pickled"):
            call(joined)
    model = write_model(tmp_path / "other.onnx", tiny_card())
    data = pickle.dumps(Generator.load(model, device="cpu"))
    write_model(model, tiny_card(licence="another"))
    with pytest.raises(ModelError, match="its file has changed"):
        unpickled(data)
    model.unlink()
    with pytest.raises(ModelError, match=r"no model .*other\.onnx"):
        unpickled(data)


def test_the_stream_is_lazy(generator: Generator) -> None:
    drawn = []

    def seeds() -> Iterator[int]:
        for seed in range(10**9):
            drawn.append(seed)
            yield seed

    stream = generator.stream(seeds(), batch_size=4)
    assert drawn == []
    first = next(stream)
    # Each lane has a batch under way while the caller looks at one.
    assert drawn == list(range(4 * (1 + available_cpus()) if available_cpus() > 1 else 4))
    np.testing.assert_array_equal(first, generator.sample(4))


def test_an_interpolation_ends_at_its_seeds(generator: Generator) -> None:
    row = generator.interpolate(1, 2, steps=7)
    assert row.shape == (7, 8, 8, 3)
    np.testing.assert_array_equal(row[[0, -1]], generator.sample(seeds=[1, 2]))
    assert not (row[3] == generator.interpolate(1, 2, steps=7, mode="lerp")[3]).all()


def test_an_interpolation_through_several_seeds(generator: Generator) -> None:
    way = generator.interpolate(1, 2, 5, steps=4)
    np.testing.assert_array_equal(way[:4], generator.interpolate(1, 2, steps=4))
    np.testing.assert_array_equal(way[3:], generator.interpolate(2, 5, steps=4))
    with pytest.raises(UsageError, match="1 stops and must have at least 2"):
        generator.interpolate(1)


def test_a_walk_passes_its_seeds(generator: Generator) -> None:
    walk = generator.walk([4, 9, 2], frames=12)
    assert length_hint(walk) == 12
    frames = [next(walk)]
    assert length_hint(walk) == 11
    frames += walk
    assert len(frames) == 12
    np.testing.assert_array_equal(np.stack(frames[::4]), generator.sample(seeds=[4, 9, 2]))


def test_truncation_is_the_same_everywhere(edit_generator: Generator) -> None:
    generator, psi = edit_generator, 0.5
    short = generator.latents([5, 6], truncation=psi)
    np.testing.assert_array_equal(short, latents.truncate(latents.from_seeds([5, 6], 8), psi))
    expected = generator(short)
    assert not (expected == generator.sample(2, seed=5)).all()
    np.testing.assert_array_equal(generator.sample(2, seed=5, truncation=psi), expected)
    np.testing.assert_array_equal(np.concatenate(list(generator.stream([5, 6], truncation=psi))), expected)
    np.testing.assert_array_equal([image for _, image in generator.pairs([5, 6], truncation=psi)], expected)
    np.testing.assert_array_equal(generator.interpolate(5, 6, steps=3, truncation=psi)[[0, -1]], expected)
    np.testing.assert_array_equal([*generator.walk([5, 6], frames=2, truncation=psi)], expected)
    np.testing.assert_array_equal(generator.edit(5, 0, [0], truncation=psi), expected[:1])
    calls: list[Callable[[], object]] = [
        lambda: generator.sample(truncation=2),
        lambda: generator.stream([1], truncation=2),
        lambda: generator.pairs([1], truncation=2),
        lambda: generator.interpolate(1, 2, truncation=2),
        lambda: generator.walk([1, 2], truncation=2),
        lambda: generator.edit(1, 0, [0], truncation=2),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="truncation is 2 and must be from 0"):
            call()


def test_raw_latents(generator: Generator) -> None:
    z = latents.from_seeds([5, 6], 8)
    np.testing.assert_array_equal(generator(z), generator.sample(2, seed=5))
    np.testing.assert_array_equal(generator(z.astype(np.float64), batch_size=1), generator.sample(2, seed=5))
    np.testing.assert_array_equal([*generator.frames(z)], generator(z))


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_frames_of_several_paths_are_grids(generator: Generator, batch_size: int | None) -> None:
    z = latents.from_seeds(range(6), 8).reshape(2, 3, 8)
    frames = generator.frames(z, batch_size=batch_size)
    assert length_hint(frames) == 2
    first, second = frames
    np.testing.assert_array_equal(first, grid(generator.sample(3)))
    np.testing.assert_array_equal(second, grid(generator.sample(3, seed=3)))


VECTORS = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][:2]


@pytest.fixture(scope="module")
def edit_generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """The tiny model with two directions."""
    card = tiny_card(directions=tuple(map(tuple, VECTORS.tolist())))
    with Generator.load(write_model(tmp_path_factory.mktemp("edit") / "tiny.onnx", card), device="cpu") as loaded:
        yield loaded


def test_an_edit_moves_along_a_direction(edit_generator: Generator) -> None:
    row = edit_generator.edit(5, 1, [-3, 0, 2.5])
    assert row.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(row[1], edit_generator.sample(seed=5)[0])
    moved = latents.from_seeds([5], 8) + np.float32(2.5) * VECTORS[1].astype(np.float32)
    np.testing.assert_array_equal(row[2], edit_generator(moved)[0])
    both = edit_generator.edit(5, None, [-3, 0, 2.5])
    assert both.shape == (6, 8, 8, 3)
    np.testing.assert_array_equal(both[3:], row)


@pytest.mark.parametrize(
    ("direction", "amounts", "words"),
    [
        (-1, [1], "direction is -1 and must be from 0 to 1 for tiny"),
        (2, [1], "direction is 2 and must be from 0 to 1"),
        (0, [float("inf")], "not finite"),
        (True, [1], "direction is True and must be a whole number, from 0 to 1"),
    ],
)
def test_an_edit_states_its_rules(edit_generator: Generator, direction: int, amounts: list[float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        edit_generator.edit(5, direction, amounts)


@pytest.mark.parametrize("direction", [0, None])
def test_a_model_without_directions(generator: Generator, direction: int | None) -> None:
    with pytest.raises(UsageError, match="tiny has no directions to edit along: name a model that has them"):
        generator.edit(5, direction, [1])


@pytest.mark.parametrize("shape", [(8,), (2, 7), (0, 7), (2, 8, 1), (2, 2, 8)])
def test_latents_of_another_shape(generator: Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"must have \[N, 8\] for tiny"):
        generator(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(8,), (2, 7), (2, 0, 8), (1, 2, 2, 8)])
def test_latents_that_make_no_frames(generator: Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"must have \[N, 8\] or \[N, K, 8\] for tiny"):
        generator.frames(np.zeros(shape, np.float32))


def test_calls_that_cannot_be(generator: Generator, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="not finite"):
        generator(np.full((1, 8), np.nan, np.float32))
    with pytest.raises(UsageError, match="n is 0 and must be at least 1"):
        generator.sample(0)
    with pytest.raises(UsageError, match="batch_size is 0"):
        generator.sample(1, batch_size=0)
    with pytest.raises(UsageError, match="batch_size is 0"):
        generator.stream([1], batch_size=0)
    with pytest.raises(UsageError, match="seed is -3 and must be a whole number"):
        generator.sample(seeds=[-3])
    with pytest.raises(UsageError, match="device is 'tpu' and must be one of auto, cpu"):
        Generator.load(tiny_model, device="tpu")  # type: ignore[arg-type]
    closed = Generator.load(tiny_model, device="cpu")
    closed.close()
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        closed.sample()


def test_threads_share_a_generator(generator: Generator) -> None:
    expected = generator.sample(16)
    results: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        results[seed] = np.concatenate([generator.sample(seeds=[seed]) for _ in range(20)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(16):
        assert (results[seed] == expected[seed]).all()


def graph_with(**changes: object) -> onnx.ModelProto:
    """The tiny graph, renamed or with a fixed batch."""
    model = tiny_graph(**{key: value for key, value in changes.items() if key == "z_name"})  # type: ignore[arg-type]
    if "batch" in changes:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = changes["batch"]
    return model


@pytest.mark.parametrize(
    ("graph", "card", "words"),
    [
        (graph_with(), tiny_card(z_dim=9), "speaks of"),
        (graph_with(), tiny_card(image_shape=(3, 16, 16)), "speaks of"),
        (graph_with(z_name="noise"), tiny_card(), "speaks of"),
        (graph_with(batch=4), tiny_card(), "batches of 4 and must take any"),
    ],
)
def test_files_that_are_no_generator(graph: onnx.ModelProto, card: object, words: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "other.onnx", card, graph)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=words):
        Generator.load(path, device="cpu")


def test_files_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("this is no protobuf")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("text.onnx", "empty.onnx"):
        with pytest.raises(ModelError, match="not an ONNX model"):
            Generator.load(tmp_path / name, device="cpu")
    with pytest.raises(ModelError, match="anime-face-64"):
        Generator.load("no-such-model", device="cpu")


def test_a_foreign_model_says_how_it_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_model(tmp_path / "foreign.onnx", None, tiny_graph("noise"))
    with caplog.at_level("INFO", "animegen"), Generator.load(path, device="cpu") as generator:
        assert generator.is_foreign
    assert caplog.messages == [f"model: no card in {path}, inferred {generator.signature.describe()}"]


def test_a_file_cut_in_half(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny_model.read_bytes()
    (tmp_path / "half.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"half\.onnx"):
        Generator.load(tmp_path / "half.onnx", device="cpu")


def test_a_graph_that_fails_to_run(tiny_model: Path) -> None:
    session = Session(tiny_model, device="cpu")
    with pytest.raises(ModelError, match="failed to run"):
        session.run({"z": np.zeros((1, 3), np.float32)})


def test_a_session_from_bytes_keeps_its_metadata() -> None:
    model = tiny_graph()
    helper.set_model_props(model, {"animegen.name": '"tiny"', "other": "value"})
    session = Session(model.SerializeToString(), device="cpu", threads=1)
    assert session.metadata == {"animegen.name": '"tiny"', "other": "value"}
    assert session.inputs[0].shape == ("batch", 8)
