"""Devices, buckets and buffers. What needs a GPU is marked so, and skips with a reason where there is none."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import tiny_card, tiny_graph, write_model
from hypothesis import given
from hypothesis import strategies as st

from animegen import DeviceError, Generator, ModelError, UsageError, latents
from animegen.runtime import DEVICES, CudaOptions, Device, Session, chunks, wheels
from animegen.runtime.devices import PROVIDERS
from animegen.runtime.lanes import Lanes
from animegen.runtime.rewrite import to_half


def cuda_works() -> bool:
    try:
        return Session(tiny_graph().SerializeToString(), device="cuda").device == "cuda"
    except DeviceError:
        return False


@pytest.fixture
def _gpu() -> None:
    if not wheels.has_cuda_build() or not cuda_works():
        pytest.skip("no CUDA session can be made here")


# --- how a batch is cut ---

SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True).map(sorted)


@given(st.integers(1, 2000), SIZES)
def test_pieces_cover_a_batch_with_few_sizes_and_little_padding(n: int, sizes: list[int]) -> None:
    cut = chunks.pieces(n, sizes)
    assert sum(count for count, _ in cut) == n
    assert all(0 < count <= size and size in sizes for count, size in cut)
    assert all(count == size for count, size in cut[:-1])
    last_count, last_size = cut[-1]
    assert not any(last_count <= size < last_size for size in sizes)


@given(st.integers(0, 90), st.lists(st.integers(1, 40), max_size=3, unique=True).map(sorted), st.integers(1, 50))
def test_every_row_is_called_once_in_order_in_the_sizes_taken(n: int, sizes: list[int], batch_size: int) -> None:
    rows = np.arange(1, 2 * n + 1, dtype=np.float32).reshape(n, 2)
    called = []

    def call(batch: np.ndarray) -> np.ndarray:
        called.append(batch)
        return batch * 2

    results = list(chunks.run(call, rows, sizes, batch_size=batch_size))
    np.testing.assert_array_equal(np.concatenate([np.zeros((0, 2), np.float32), *results]), rows * 2)
    assert all(0 < len(result) <= batch_size for result in results)
    assert all(len(batch) in sizes for batch in called) or not sizes
    assert all((batch[len(result) :] == 0).all() for batch, result in zip(called, results, strict=True))


def test_rows_are_called_lazily() -> None:
    called = []

    def call(batch: np.ndarray) -> np.ndarray:
        called.append(len(batch))
        return batch

    results = chunks.run(call, np.ones((8, 1)), (), batch_size=3)
    assert (next(results).shape, called) == ((3, 1), [3])
    with pytest.raises(UsageError, match="batch_size is 0 and must be at least 1"):
        chunks.run(call, np.ones((8, 1)), (), batch_size=0)


# --- buffers, on an ONNX Runtime that calls the CPU CUDA ---


class FakeCuda:
    """What is padded, bound and numbered for CUDA shows with this module, without a GPU.

    Attributes:
        graphs: the numbers of CUDA graphs that were asked for.
        at_binding: called where buffers are made.
    """

    __version__ = "9.9"
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self) -> None:
        self.graphs: list[str] = []
        self.at_binding: Callable[[], object] = lambda: None

    def get_available_providers(self) -> list[str]:
        return [PROVIDERS["cuda"], PROVIDERS["cpu"]]

    def preload_dlls(self) -> None:
        pass

    def InferenceSession(self, data: bytes, options: object, **_: object) -> FakeSession:  # noqa: N802 (its name there)
        return FakeSession(onnxruntime.InferenceSession(data, options, providers=[PROVIDERS["cpu"]]), self)

    def RunOptions(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(add_run_config_entry=lambda _key, value: self.graphs.append(value))

    class OrtValue:
        @staticmethod
        def ortvalue_from_numpy(array: np.ndarray, *_: object) -> onnxruntime.OrtValue:
            return onnxruntime.OrtValue.ortvalue_from_numpy(array)

        @staticmethod
        def ortvalue_from_shape_and_type(shape: list[int], kind: type, *_: object) -> onnxruntime.OrtValue:
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind)


class FakeSession:
    """A session on the CPU that says it is on CUDA."""

    def __init__(self, session: onnxruntime.InferenceSession, module: FakeCuda) -> None:
        self._session, self._module = session, module

    def get_providers(self) -> list[str]:
        return self._module.get_available_providers()

    def io_binding(self) -> object:
        self._module.at_binding()
        return self._session.io_binding()

    def run_with_iobinding(self, binding: object, _options: object) -> None:
        self._session.run_with_iobinding(binding)

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    module = FakeCuda()
    monkeypatch.setattr(wheels, "onnxruntime", lambda: module)
    return module


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Generator:
    return Generator.load(tiny_model, device="cpu")


@pytest.mark.parametrize("n", [1, 7, 8, 9, 40, 129])
def test_padding_changes_no_image(tiny_model: Path, plain: Generator, cuda: FakeCuda, n: int) -> None:
    expected = plain.sample(n)
    with Generator.load(tiny_model, device="cuda") as padded:
        padded.warm_up()
        np.testing.assert_array_equal(padded.sample(n, batch_size=n), expected)
        np.testing.assert_array_equal(padded.sample(n), expected)


def test_a_later_call_does_not_change_earlier_results(tiny_model: Path, plain: Generator, cuda: FakeCuda) -> None:
    session = Session(tiny_model, device="cuda")
    z = [latents.from_seeds(range(seed, seed + 4), 8) for seed in range(5)]
    results = [session.run({"z": np.asfortranarray(one)})[0] for one in z]
    for one, images in zip(z, results, strict=True):
        np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), plain(one))


def test_threads_share_buffers(tiny_model: Path, plain: Generator, cuda: FakeCuda) -> None:
    session = Session(tiny_model, device="cuda")
    z = [latents.from_seeds([seed], 8) for seed in range(8)] * 20
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda one: session.run({"z": one})[0], z))
    for one, images in zip(z, results, strict=True):
        np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), plain(one))


def test_threads_that_meet_new_shapes_at_once_take_a_graph_each(tiny_model: Path, cuda: FakeCuda) -> None:
    session = Session(tiny_model, device="cuda", cuda=CudaOptions(graphs=True))
    both = threading.Barrier(2)

    def meet() -> None:  # the other thread comes here too, unless it has to wait until this one's buffers are made
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.2)

    cuda.at_binding = meet
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: session.run({"z": latents.from_seeds(range(n), 8)}), (1, 8)))
    assert sorted(cuda.graphs) == ["0", "1"]


def test_half_precision_is_made_in_memory(tiny_model: Path) -> None:
    exact = Session(tiny_model, device="cpu")
    half = Session(to_half(tiny_model.read_bytes()), device="cpu")  # on a CPU only to see that it is right
    assert [tensor.dtype for tensor in (*half.inputs, *half.outputs)] == ["tensor(float)", "tensor(uint8)"]
    z = latents.from_seeds(range(16), 8)
    apart = exact.run({"z": z})[0].astype(int) - half.run({"z": z})[0]
    assert 0 < np.abs(apart).max() <= 4


def start(model: Path, device: Device) -> Session | str:
    """The session, or the words of the error."""
    try:
        return Session(model, device=device)
    except DeviceError as error:
        return str(error)


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_is_itself_or_an_error(device: Device, tiny_model: Path) -> None:
    started = start(tiny_model, device)
    if isinstance(started, Session):
        assert device in {started.device, "auto"}
        assert started.why
    else:
        assert device not in {"auto", "cpu"}
        assert started.startswith(f"{device} was asked for, and ")
        assert "--device cpu" in started


def test_auto_says_why(tiny_model: Path) -> None:
    session = Session(tiny_model)
    if not wheels.has_cuda_build():
        assert (session.device, session.why) == (
            "cpu",
            f"the installed ONNX Runtime {onnxruntime.__version__} is a CPU build",
        )


def test_every_device_but_auto_has_a_provider() -> None:
    assert set(PROVIDERS) == set(DEVICES) - {"auto"}


def test_cuda_options() -> None:
    assert CudaOptions(memory=512, graphs=True).for_provider() == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": 512 * 2**20,
        "enable_cuda_graph": "1",
    }


@pytest.mark.parametrize("memory", [0, -1, 999_999_999_999, 1.5])
def test_cuda_memory_out_of_range(memory: int) -> None:
    with pytest.raises(UsageError, match=rf"the CUDA memory in MB is {memory} and must be .*from 1 to 16777216"):
        CudaOptions(memory=memory)
    small: Any = np.uint8(255)
    assert type(CudaOptions(memory=small).memory) is int


def test_cuda_options_are_for_cuda(tiny_model: Path) -> None:
    for options in (CudaOptions(half=True), CudaOptions(graphs=True), CudaOptions(memory=100)):
        with pytest.raises(UsageError, match="device is cpu and must be cuda"):
            Session(tiny_model, device="cpu", cuda=options)


def test_threads_are_those_that_were_asked_for(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    create = onnxruntime.InferenceSession

    def noted(data: bytes, options: onnxruntime.SessionOptions, **others: object) -> onnxruntime.InferenceSession:
        asked.append(options.intra_op_num_threads)
        return create(data, options, **others)

    monkeypatch.setattr("animegen.runtime.session.available_cpus", lambda: 3)
    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    session = Session(tiny_model, device="cpu")
    assert (session.threads, session.lanes.count) == (3, 3)
    assert asked == [1]  # a lane's; one of all threads comes once calls that come alone are many enough
    z = {"z": latents.from_seeds([5], 8)}
    results = [session.run(z)[0] for _ in range(20)]
    assert asked == [1, 3]
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    session = Session(tiny_model, device="cpu", threads=1)
    session.warm_up()
    assert (session.threads, session.lanes.count) == (1, 1)
    assert asked == [1, 3, 1]


def test_lanes_keep_the_order_and_work_side_by_side() -> None:
    together = threading.Barrier(2, timeout=30)

    def work(number: int) -> int:
        if number < 2:
            together.wait()  # each waits until the other is under way too
        return number

    assert list(Lanes(2).map(work, range(50))) == list(range(50))


def test_lanes_read_no_further_ahead_than_they_work() -> None:
    asked = []

    def jobs() -> Iterator[int]:
        for number in range(10**9):
            asked.append(number)
            yield number

    results = Lanes(3).map(str, jobs())
    assert asked == []
    assert [next(results), next(results)] == ["0", "1"]
    assert asked == [0, 1, 2, 3, 4]
    results.close()  # type: ignore[attr-defined]


def test_a_lane_does_its_own_work_itself() -> None:
    lanes = Lanes(2)

    def work(number: int) -> list[str]:
        return list(lanes.map(lambda _: threading.current_thread().name, range(3)))

    for names in lanes.map(work, range(4)):
        assert len(set(names)) == 1
        assert names[0].startswith("animegen-lane")
    assert list(lanes.map(lambda _: lanes.is_inside, range(2))) == [True, True]
    assert list(lanes.map(lambda _: lanes.is_inside, [1])) == [False]
    assert not lanes.is_inside


def test_an_error_in_a_lane_is_the_caller_s() -> None:
    results = Lanes(2).map(lambda number: 6 // (3 - number), range(9))
    assert [next(results), next(results), next(results)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_lanes_of_its_own(tiny_model: Path) -> None:
    script = (
        "import os, sys, animegen\n"
        "generator = animegen.Generator.load(sys.argv[1], device='cpu', threads=2)\n"
        "before = generator.sample(40).tobytes()\n"
        "child = os.fork()\n"
        "same = generator.sample(40).tobytes() == before\n"
        "if not child: os._exit(0 if same else 3)\n"
        "print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, tiny_model],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["True", "0"]


def test_models_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        Session(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="does not exist"):
        Session(tmp_path)


@pytest.mark.gpu
@pytest.mark.usefixtures("_gpu")
def test_cuda_and_cpu_make_the_same_images(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.onnx", tiny_card())
    with Generator.load(path, device="cpu") as cpu:
        expected = cpu.sample(200).astype(int)
    for options in (CudaOptions(), CudaOptions(graphs=True), CudaOptions(memory=256)):
        with Generator.load(path, device="cuda", cuda=options) as cuda:
            assert cuda.device == "cuda"
            cuda.warm_up()
            for batch_size in (1, 7, 128, 200):
                apart = np.abs(cuda.sample(200, batch_size=batch_size) - expected)
                assert (apart <= 1).mean() >= 0.999
    with Generator.load(path, device="cuda", cuda=CudaOptions(half=True)) as cuda:
        assert np.abs(cuda.sample(200) - expected).max() <= 6


@pytest.mark.gpu
@pytest.mark.usefixtures("_gpu")
def test_the_shipped_model_on_cuda() -> None:
    with Generator.load(device="cpu") as cpu, Generator.load(device="cuda") as cuda:
        apart = np.abs(cuda.sample(64).astype(int) - cpu.sample(64))
    assert (apart <= 1).mean() >= 0.999
