"""`--precision auto`: what was timed, or what the run had before. No test asserts a real second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TINY, Run

torch = pytest.importorskip("torch")

from train.config import load_config
from train.data import Dataset
from train.run import checkpoint
from train.run import open as opening
from train.run.open import Place, resume_run, start_run
from train.run.session import Limits
from train.step import precision
from train.step.devices import Precision, choose_precision, multiplies_bf16
from train.step.precision import quicker
from train.step.trainer import Trainer

CPU = torch.device("cpu")
CONFIG = load_config("wgan-gp-64", TINY[3::2])


def clock(*steps: float) -> Callable[[], float]:
    """A clock on which the timed steps take so long, one after the other."""

    def times() -> Iterator[float]:
        now = 100.0
        for taken in steps:
            yield now
            now += taken
            yield now

    return times().__next__


@pytest.fixture
def build(tiny_data: Path) -> Callable[[Precision], Trainer]:
    """Trainers of the tiny configuration."""
    images = Dataset.open(tiny_data).images
    return lambda bits: Trainer(CONFIG, images, device=CPU, precision=bits)


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [
        ((1, 1, 1), (0.5, 0.5, 0.5), "bf16"),
        ((1, 1, 1), (1.4, 1.4, 1.4), "fp32"),  # AVX512-BF16 without AMX
        ((1, 1, 1), (0.95, 0.95, 0.95), "fp32"),  # as good as equal: then nothing is rounded
        ((9, 1, 9), (9, 9, 0.5), "bf16"),  # a machine that does other things: the quickest step tells
    ],
)
def test_bf16_must_be_clearly_quicker(
    fp32: tuple[float, ...],
    bf16: tuple[float, ...],
    chosen: str,
    build: Callable[[Precision], Trainer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda _device: True)
    with caplog.at_level("INFO"):
        assert (
            quicker(build, CPU, clock=clock(*(taken for turn in zip(fp32, bf16, strict=True) for taken in turn)))
            == chosen
        )
    assert f"precision: {chosen}, as bf16 takes {min(bf16) / min(fp32):.2f} of the time" in caplog.text


def test_without_instructions_for_it_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda _device: False)

    def never(_bits: Precision) -> Trainer:
        raise AssertionError

    assert quicker(never, CPU) == "fp32"


def test_timing_leaves_the_run_as_it_was(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda _device: True)
    dataset, random_state = Dataset.open(tiny_data), torch.random.get_rng_state()
    timed, plain = (Place(CPU, bits).trainer(CONFIG, dataset) for bits in ("auto", "fp32"))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert timed.step == 0
    for (name, one), other in zip(timed.critic.state_dict().items(), plain.critic.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert not timed.critic_optimiser.state


@pytest.mark.parametrize("bits", ["fp32", "bf16"])
def test_a_resumed_run_keeps_its_precision(
    bits: Precision, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto, limits = Place(CPU, "auto"), [Limits(steps=steps) for steps in (1, 2)]
    monkeypatch.setattr(opening, "quicker", lambda _build, _device: bits)
    session = start_run(tmp_path / "run", tiny_data, CONFIG, place=auto, limits=limits[0])
    session.fit()
    assert checkpoint.read_card(tmp_path / "run" / checkpoint.NAME).precision == session.trainer.precision == bits

    def never(*_: object) -> Precision:
        raise AssertionError

    monkeypatch.setattr(opening, "quicker", never)
    resumed = resume_run(tmp_path / "run", tiny_data, place=auto, limits=limits[1])
    assert resumed.trainer.precision == bits
    assert not any("no longer bit-equal" in line for line in resumed.describe())


def test_another_device_s_precision_is_not_kept(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_run(tmp_path / "run", tiny_data, CONFIG, place=Place(CPU, "bf16"), limits=Limits(steps=1)).fit()
    monkeypatch.setattr(opening, "device_name", lambda _device: "cuda (a card)")
    monkeypatch.setattr(opening, "quicker", lambda _build, _device: "fp32")
    resumed = resume_run(tmp_path / "run", tiny_data, place=Place(CPU, "auto"), limits=Limits(steps=2))
    assert resumed.trainer.precision == "fp32"


def test_fit_times_and_says_so(train: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda _device: True)
    run, auto = tmp_path / "run", ("--precision", "auto")
    done = train(
        "fit", *TINY, "--device", "cpu", "--threads", 1, "--data", tiny_data, "--out", run, "--steps", 1, *auto
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stderr.decode()
    chosen = checkpoint.read_card(run / checkpoint.NAME).precision
    assert f"precision: {chosen}, as bf16 takes " in said
    assert f"wgan-gp-64 on cpu, {chosen}, " in said


def test_where_nothing_can_be_timed_amx_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, avx, untimed in ((True, True, "bf16"), (False, True, "fp32"), (False, False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        assert choose_precision("auto", CPU) == untimed
        assert multiplies_bf16(CPU) == (amx or avx)
