"""Devices, buckets and buffers. What needs a GPU is marked so, and skips with a reason where there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import tiny_card, tiny_graph, write_model
from hypothesis import given
from hypothesis import strategies as st

from animegen import DeviceError, Generator, ModelError, UsageError, latents
from animegen.runtime import DEVICES, CudaOptions, Device, Session, wheels
from animegen.runtime.binding import Binding
from animegen.runtime.devices import CUDA_BUCKETS, pieces
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


@given(st.integers(1, 2000), st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True).map(sorted))
def test_pieces_cover_a_batch_with_few_sizes_and_little_padding(n: int, sizes: list[int]) -> None:
    cut = pieces(n, tuple(sizes))
    if n % sizes[-1] > 0 and not any(size >= n % sizes[-1] for size in sizes):
        pytest.fail("the largest size holds any rest")
    assert sum(count for count, _ in cut) == n
    assert all(0 < count <= size and size in sizes for count, size in cut)
    assert all(count == size for count, size in cut[:-1])
    last_count, last_size = cut[-1]
    assert not any(last_count <= size < last_size for size in sizes)


def test_the_cuda_buckets() -> None:
    assert pieces(300, CUDA_BUCKETS) == [(128, 128), (128, 128), (44, 128)]
    assert pieces(9, CUDA_BUCKETS) == [(9, 32)]
    assert pieces(1, CUDA_BUCKETS) == [(1, 1)]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 40, 129])
def test_padding_changes_no_image(tiny_model: Path, n: int) -> None:
    with Generator.load(tiny_model, device="cpu") as plain, Generator.load(tiny_model, device="cpu") as padded:
        assert padded._session is not None
        padded._session.buckets = (1, 8, 32)  # as on a device that plans for these
        padded.warm_up()
        np.testing.assert_array_equal(padded.sample(n, batch_size=n), plain.sample(n, batch_size=n))
        np.testing.assert_array_equal(padded.sample(n), plain.sample(n))


def test_bound_buffers_give_what_a_plain_call_gives(tiny_model: Path) -> None:
    session = onnxruntime.InferenceSession(tiny_model.read_bytes(), providers=["CPUExecutionProvider"])
    assert Binding.fits(session)
    first = latents.from_seeds(range(4), 8)
    binding = Binding(onnxruntime, session, {"z": first}, place="cpu", graph=None)
    kept = []
    for start in range(0, 40, 4):
        z = latents.from_seeds(range(start, start + 4), 8)
        (images,) = binding.run({"z": np.asfortranarray(z)})
        np.testing.assert_array_equal(images, session.run(None, {"z": z})[0])
        kept.append((images, images.copy()))
    # The results are arrays of their own: a later call doesn't change them.
    assert all((images == copy).all() for images, copy in kept)


def test_threads_share_bound_buffers(tiny_model: Path) -> None:
    session = Session(tiny_model, device="cpu")
    plain = Session(tiny_model, device="cpu")
    session._bindings = {}
    right = threading.Event()
    right.set()

    def work(seed: int) -> None:
        z = latents.from_seeds([seed], 8)
        binding = session._bindings.setdefault(  # type: ignore[union-attr]
            ((1, 8),), Binding(onnxruntime, session._session, {"z": z}, place="cpu", graph=None)
        )
        for _ in range(50):
            if (binding.run({"z": z})[0] != plain.run({"z": z})[0]).any():
                right.clear()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right.is_set()


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


def test_cuda_options() -> None:
    assert CudaOptions(memory=512, graphs=True).for_provider() == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": 512 * 2**20,
        "enable_cuda_graph": "1",
    }


def test_cuda_options_are_for_cuda(tiny_model: Path) -> None:
    for options in (CudaOptions(half=True), CudaOptions(graphs=True), CudaOptions(memory=100)):
        with pytest.raises(UsageError, match="are for cuda, and the device is cpu"):
            Session(tiny_model, device="cpu", cuda=options)


def test_threads_are_those_that_were_asked_for(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Options(onnxruntime.SessionOptions):
        pass

    monkeypatch.setattr("animegen.runtime.session.available_cpus", lambda: 3)
    monkeypatch.setattr(onnxruntime, "SessionOptions", lambda: asked.append(Options()) or asked[-1])
    assert Session(tiny_model, device="cpu").threads == 3
    assert Session(tiny_model, device="cpu", threads=1).threads == 1
    assert [options.intra_op_num_threads for options in asked] == [3, 1]


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
