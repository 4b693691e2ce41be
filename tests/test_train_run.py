"""A run from start to end: what it leaves behind, and that a resumed one is the same run."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest
from conftest import ROOT, TINY, Run, assert_error, picture_zip
from PIL import Image

torch = pytest.importorskip("torch")

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from animegen import DeviceError, Generator, OutputError
from animegen.files import sha256
from train.config import load_config
from train.data import Dataset, prepare
from train.errors import CheckpointError, TrainingError
from train.run import checkpoint
from train.run.log import read_rows
from train.run.open import Place, resume_run, start_run
from train.run.session import Limits, TrainingSession
from train.step.devices import choose_device, choose_precision
from train.step.trainer import Trainer

PARTS = {"generator", "critic", "ema", "generator_optimiser"}
CPU = ("--threads", "1", "--device", "cpu", "--log-every", "1")
HERE = Place(torch.device("cpu"), "fp32")


def tensors(run: Path) -> dict[str, Tensor]:
    return load_file(run / checkpoint.NAME)


def card_of(run: Path) -> checkpoint.CheckpointCard:
    return checkpoint.read_card(run / checkpoint.NAME)


def assert_equal_states(one: Path, other: Path) -> None:
    """Weights, EMA, both optimisers and counters are equal to the last bit."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    parts = {name.partition(".")[0] for name in left}
    assert PARTS <= parts <= {"critic_optimiser", *PARTS}  # plain gradient descent has no moments
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []
    assert card_of(one).step == card_of(other).step


def metrics(run: Path) -> list[dict[str, float]]:
    """The rows, without what a clock decides."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in {"seconds", "images_per_second"}} for row in rows]


def fit(train: Run, *arguments: Any) -> str:
    """Run `fit`, which must succeed, and return what it wrote on stderr."""
    done = train("fit", *CPU, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    return done.stderr.decode()


# --- what a run leaves ---


def test_a_run_leaves_its_traces(tiny_run: Path) -> None:
    traces = ["checkpoint.safetensors", "metrics.jsonl", "samples", "sessions.jsonl"]
    assert sorted(path.name for path in tiny_run.iterdir()) == traces
    rows = metrics(tiny_run)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["images_seen"] == 6 * 2 * 8
    assert rows[0].keys() >= {"critic_loss", "generator_loss", "wasserstein", "penalty", "gradient_norm"}
    for row in rows:  # λ = 10
        assert row["critic_loss"] == pytest.approx(10 * row["penalty"] - row["wasserstein"], rel=1e-4, abs=1e-4)
    grids = sorted((tiny_run / "samples").iterdir())
    assert [path.name for path in grids] == ["step00000003.png", "step00000006.png"]
    with Image.open(grids[0]) as sheet:
        assert sheet.size == (8 * 18 - 2, 8 * 18 - 2)
    card = card_of(tiny_run)
    assert (card.step, card.images_seen, card.sessions, card.device) == (6, 96, 1, "cpu")
    assert card.config == load_config("wgan-gp-64", TINY[3::2])


def test_tensorboard_events_hold_the_rows(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    fit(train, *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 2, "--tensorboard")
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert events.read_bytes().count(b"metrics/wasserstein") == 2


def test_tensorboard_missing_is_one_line(
    train: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 2, "--tensorboard")
    assert done.returncode == 1
    assert "tensorboardX: pip install -r train/requirements.txt" in done.stderr.decode().splitlines()[-1]


# --- going on ---


def test_a_resumed_run_ends_bit_equal(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = fit(train, *TINY, "--data", tiny_data, "--out", run, "--steps", 2)
    for words in ("wgan-gp-64 on cpu", "1 CPU threads", "closed form", "50 images"):
        assert words in said
    assert "step 1/2 loss " in said  # where there is no terminal, a line for each row
    # Rows that were written after the last checkpoint are written again, once.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "from": "a step that was lost"}\n{"step": 4, "cu')
    assert "resumed at step 2" in fit(train, "--resume", "--data", tiny_data, "--out", run, "--steps", 6)
    assert_equal_states(run, tiny_run)
    assert metrics(run) == metrics(tiny_run)
    assert card_of(run).sessions == 2
    starts = read_rows(run / "sessions.jsonl")
    assert [row["step"] for row in starts] == [0, 2]
    assert starts[1]["began"] >= starts[0]["began"]
    assert {(row["device"], row["threads"], row["processes"]) for row in starts} == {("cpu", 1, 1)}


@pytest.mark.parametrize(
    "preset",
    ["wgan-anime64", "sngan-64", "ragan-anime64", "r3gan-64", "wgan-gp-anime32-in", "dcgan-noisy-anime64", "sgd"],
)
def test_every_kind_of_state_is_resumed(preset: str, tiny_data: Path, tmp_path: Path) -> None:
    settings = [*TINY[3::2], "n_generator=2", "augment=['color']", "label_noise=0.0", "lr_decay=0.9"]
    settings += ["epochs=1"] if preset.endswith("anime64") else ["steps=4"]
    if preset == "sgd":
        preset = str(tmp_path / "sgd.toml")
        Path(preset).write_text("[critic_optimiser]\nalgorithm = 'sgd'\n[generator_optimiser]\nalgorithm = 'rmsprop'")
    config = load_config(preset, settings)
    limits = {steps: Limits(steps=steps, log_every=1, sample_every=4) for steps in (1, 3, 4)}
    start_run(tmp_path / "whole", tiny_data, config, place=HERE, limits=limits[4]).fit()
    start_run(tmp_path / "parts", tiny_data, config, place=HERE, limits=limits[1]).fit()
    for steps in (3, 4):
        resume_run(tmp_path / "parts", tiny_data, place=HERE, limits=limits[steps]).fit()
    assert_equal_states(tmp_path / "parts", tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_rest_is_as_if_it_had_not_been(
    train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step = tmp_path / "run", Trainer.train_step

    def signalled(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 2:
            signal.raise_signal(number)
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", signalled)
        done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", run)
    assert done.returncode == 130, done.stderr.decode()
    assert card_of(run).step == 3
    fit(train, "--resume", "--data", tiny_data, "--out", run, "--steps", 6)
    assert_equal_states(run, tiny_run)
    assert metrics(run) == metrics(tiny_run)


def process_until(line: str, number: signal.Signals, *arguments: object) -> tuple[int, str]:
    """A real `fit` that is sent a signal once it writes this; its exit status, and the rest that it writes."""
    command = [sys.executable, "-m", "train", "fit", *CPU, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for written in process.stderr:
            if written.startswith(line):
                process.send_signal(number)
                break
        rest = process.stderr.read()
    return process.returncode, rest


def test_ctrl_c_in_a_process(tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, rest = process_until("step 2/", signal.SIGINT, *TINY, "--data", tiny_data, "--out", run)
    assert status == 130, rest
    assert "interrupted at step" in rest
    assert "continue with: python -m train fit --resume" in rest
    assert metrics(run)[-1]["step"] == card_of(run).step >= 2


def test_a_killed_run_resumes_from_its_last_checkpoint(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    new = (*TINY, "--data", tiny_data, "--checkpoint-every", 2)
    process_until("step 5/", signal.SIGKILL, *new, "--out", run)
    step = card_of(run).step
    assert step >= 4
    assert step % 2 == 0
    fit(train, "--resume", "--data", tiny_data, "--out", run, "--steps", step + 1)
    fit(train, *TINY, "--data", tiny_data, "--out", whole, "--steps", step + 1)
    assert_equal_states(run, whole)


def test_images_end_a_session(train: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.run.session._TELLS_AFTER", 0.0)
    run = tmp_path / "run"
    done = train(
        "fit", *TINY, "--data", tiny_data, "--out", run, "--images", "40", "--log-every", "1", "--threads", "1"
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "finished at step 3, 48 real images seen" in said  # 8 images for each of 2 critic steps
    steps = load_config(TINY[1], TINY[3::2]).steps
    assert f"all of {steps:,} steps, {16 * steps:,} real images, take about " in said
    assert said.count("here; this session ends at 3") == 1
    done = train("fit", "--resume", "--data", tiny_data, "--out", run, "--images", "41", "--threads", "1")
    assert "finished at step 3" in done.stderr.decode()


def test_minutes_end_a_session(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    said = fit(train, *TINY, "--data", tiny_data, "--out", tmp_path / "run", "--minutes", 0.003)
    assert "out of time at step" in said
    assert card_of(tmp_path / "run").step < 100_000


def test_a_run_starts_from_another_one(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changed = ("--set", "batch_size=16", "--set", "ema=0.99", "--set", "generator_optimiser.lr=1e-9")
    said = fit(train, "--from", tiny_run, *TINY, *changed, "--data", tiny_data, "--out", run, "--steps", 1)
    assert "from wgan-gp-64 at step 6, 96 real images seen" in said
    before, after = tensors(tiny_run), tensors(run)
    for name in before:  # the generator hardly moved, and the moments and the average went on from where they were
        if name.startswith("generator.") and name.endswith(".weight"):
            torch.testing.assert_close(after[name], before[name])
        if name.startswith("generator_optimiser.") and name.endswith(".step"):
            assert after[name] == before[name] + 1
        if name.startswith("ema.") and name.endswith(".weight"):
            expected = torch.lerp(before[name], before[name.replace("ema.", "generator.")], 0.01)
            torch.testing.assert_close(after[name], expected)
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("critic."))
    assert [row["images_seen"] for row in metrics(run)] == [96 + 32]

    fit(train, "--resume", "--data", tiny_data, "--out", run, "--steps", 2)
    card = card_of(run)
    assert (card.step, card.images_seen, card.config.batch_size) == (2, 96 + 64, 16)
    (earlier,) = card.earlier
    assert (earlier.step, earlier.images_seen, earlier.config.batch_size) == (6, 96, 8)
    assert earlier.checkpoint_sha256 == sha256(tiny_run / checkpoint.NAME)

    fit(train, "--from", run, *TINY, "--data", tiny_data, "--out", tmp_path / "third", "--steps", 1)
    card = card_of(tmp_path / "third")
    assert ([earlier.step for earlier in card.earlier], card.images_seen) == ([6, 2], 96 + 64 + 16)


# --- what is refused ---


def test_another_configuration_is_refused_with_its_differences(train: Run, tiny_run: Path, tiny_data: Path) -> None:
    before = (tiny_run / checkpoint.NAME).read_bytes()
    changed = [*TINY, "--set", "lambda_gp=5", "--set", "critic.width=8"]
    done = train("fit", "--resume", *changed, "--data", tiny_data, "--out", tiny_run)
    assert_error(done, 1, "critic.width: 4 → 8", "lambda_gp: 10.0 → 5.0", "another folder")
    assert (tiny_run / checkpoint.NAME).read_bytes() == before


def test_a_start_from_other_networks_is_refused(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    new = ("--data", tiny_data, "--out", tmp_path / "run")
    done = train("fit", "--from", tiny_run, *TINY, "--set", "critic.width=8", *new)
    assert_error(done, 1, "other networks", "[critic]")
    done = train("fit", "--from", tmp_path / "none", *TINY, *new)
    assert_error(done, 1, "none", "does not exist")
    assert not (tmp_path / "run").exists()
    done = train("fit", "--from", tiny_run, "--resume", "--data", tiny_data, "--out", tiny_run)
    assert_error(done, 2, "--from", "--resume")


def test_other_data_is_refused(train: Run, tiny_run: Path, tmp_path: Path) -> None:
    card = prepare(picture_zip(tmp_path / "other.zip", 20), tmp_path / "other", size=16)
    done = train("fit", "--resume", "--data", tmp_path / "other", "--out", tiny_run)
    assert_error(done, 1, "data: sha256", card.sha256[:12])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((*TINY, "--out", "RUN"), 1, ["already holds a run", "--resume"]),
        (("--out", "NEW"), 2, ["--preset"]),
        (("--preset", "no-such", "--out", "NEW"), 2, ["no-such", "wgan-gp-64"]),
        ((*TINY, "--set", "generator.depth=3", "--out", "NEW"), 2, ["depth"]),
        (("--preset", "wgan-gp-64", "--out", "NEW"), 1, ["16×16", "64×64", "--size 64"]),
        ((*TINY, "--set", "batch_size=64", "--out", "NEW"), 1, ["50 images", "64"]),
        ((*TINY, "--resume", "--out", "NEW"), 1, ["does not exist"]),
        (("--resume", "--set", "seed=3", "--out", "RUN"), 2, ["--set"]),
        ((*TINY, "--out", "NEW/deeper"), 1, ["make it first"]),
        ((*TINY, "--steps", "0", "--out", "NEW"), 2, ["--steps"]),
        ((*TINY, "--minutes", "0", "--out", "NEW"), 2, ["--minutes"]),
    ],
)
def test_bad_input_is_one_line(
    train: Run,
    tiny_run: Path,
    tiny_data: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    words: list[str],
) -> None:
    places = {"RUN": tiny_run, "NEW": tmp_path / "new", "NEW/deeper": tmp_path / "new" / "deeper"}
    done = train("fit", *(places.get(part, part) for part in arguments), "--data", tiny_data)
    assert_error(done, status, *words)
    assert not (tmp_path / "new").exists()


def test_steps_at_learning_rates_of_0_are_refused(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    run, new = tmp_path / "run", (*TINY, "--set", "steps=2", "--data", tiny_data)
    falling = (*new, "--set", "lr_decay=0.5")
    done = train("fit", *falling, "--out", run, "--steps", 3)
    assert_error(done, 2, "--steps is 3 and must be at most 2", "--set steps=3", "--from")
    assert not run.exists()
    fit(train, *falling, "--out", run, "--steps", 2)
    done = train("fit", "--resume", "--data", tiny_data, "--out", run, "--steps", 3)
    assert_error(done, 2, "--steps is 3 and must be at most 2", f"--from {run}")
    assert card_of(run).sessions == 1
    fit(train, *new, "--out", tmp_path / "even", "--steps", 3)  # where the rates don't fall there is more to learn
    assert card_of(tmp_path / "even").step == 3


def test_no_dataset(train: Run, tmp_path: Path) -> None:
    assert_error(train("fit", *TINY, "--data", tmp_path, "--out", tmp_path / "run"), 1, "no packed dataset", "prepare")


# --- checkpoints ---


@pytest.mark.parametrize("damage", ["half", "a byte less", "head", "empty", "other bytes"])
def test_damaged_checkpoints_are_named(
    train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path, damage: str
) -> None:
    whole = (tiny_run / checkpoint.NAME).read_bytes()
    data = {"half": whole[: len(whole) // 2], "a byte less": whole[:-1], "head": whole[:5], "empty": b""}
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / checkpoint.NAME).write_bytes(data.get(damage, b"x" * 1000))
    done = train("fit", "--resume", "--data", tiny_data, "--out", run)
    assert_error(done, 1, "checkpoint.safetensors is damaged", "new run")
    assert (run / checkpoint.NAME).read_bytes() == data.get(damage, b"x" * 1000)


@pytest.mark.parametrize("version", [checkpoint.FORMAT - 1, checkpoint.FORMAT + 1])
def test_a_checkpoint_of_another_format_is_named(tmp_path: Path, version: int) -> None:
    # Its configuration has keys that this version doesn't know.
    saved = tmp_path / checkpoint.NAME
    card = {"format": version, "config": {"no_such_key": 1}}
    save_file({"x": torch.zeros(1)}, saved, {"animegen": json.dumps(card)})
    with pytest.raises(CheckpointError, match=f"has checkpoint format {version} and must have format"):
        checkpoint.read_card(saved)


def test_no_space_for_a_checkpoint_leaves_the_last_one(
    train: Run, tiny_data: Path, tiny_run: Path, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = (run / checkpoint.NAME).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        done = train("fit", "--resume", *CPU, "--data", tiny_data, "--out", run, "--steps", 7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 1
    assert "checkpoint.safetensors can't be written" in done.stderr.decode().splitlines()[-1]
    assert (run / checkpoint.NAME).read_bytes() == before
    assert not list(run.glob(".*"))


def tiny_session(tiny_data: Path, run: Path, **limits: Any) -> TrainingSession:
    config = load_config("wgan-gp-64", TINY[3::2])
    return start_run(run, tiny_data, config, place=HERE, limits=Limits(log_every=1, **limits))


def test_a_full_disk_while_saving(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = tiny_session(tiny_data, tmp_path / "run")

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        session.save()
    assert not list((tmp_path / "run").iterdir())


# --- values that are not finite, and a critic that is stuck ---


def break_at(session: TrainingSession, step: int, monkeypatch: pytest.MonkeyPatch, times: int = 1000) -> list[float]:
    """Let a step of the trainer poison the critic, so many times; the learning rates' scale at each."""
    scales: list[float] = []
    train_step = session.trainer.train_step

    def poisoned() -> dict[str, float]:
        if session.trainer.step == step - 1 and len(scales) < times:
            scales.append(session.trainer.lr_scale)
            with torch.no_grad():
                session.trainer.critic.value[1].bias.fill_(float("nan"))
        return train_step()

    monkeypatch.setattr(session.trainer, "train_step", poisoned)
    return scales


def test_a_value_that_is_not_finite_stops_the_run(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = tiny_session(tiny_data, tmp_path / "run", steps=5, checkpoint_every=2)
    scales = break_at(session, 4, monkeypatch)
    with pytest.raises(TrainingError, match=r"critic_loss, .*, generator_loss is not finite at step 4, after 3 rollb"):
        session.fit()
    assert scales == [1, 0.5, 0.25, 0.125]
    card = card_of(tmp_path / "run")
    assert (card.step, card.rollbacks) == (2, 3)
    assert all(value.isfinite().all() for value in tensors(tmp_path / "run").values())
    assert [row["step"] for row in metrics(tmp_path / "run")] == [1, 2, 3]
    assert "back to step 2, and on with 0.5 of the learning rates (rollback 1 of 3)" in caplog.text


def test_a_run_goes_on_after_a_rollback_and_a_resume_remembers_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    session = tiny_session(tiny_data, run, steps=5, checkpoint_every=2)
    break_at(session, 4, monkeypatch, times=1)
    assert session.fit() == "finished"
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4, 5]
    assert card_of(run).rollbacks == 1
    assert session.trainer.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.5e-4)
    resumed = resume_run(run, tiny_data, place=HERE, limits=Limits(steps=6))
    resumed.fit()
    assert card_of(run).rollbacks == 1
    assert resumed.trainer.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.5e-4)


@pytest.mark.parametrize(
    "limits",
    [
        {"steps": 3, "log_every": 100, "checkpoint_every": 1},
        {"steps": 300, "log_every": 1000, "checkpoint_every": 1000, "minutes": 0.1},
    ],
)
def test_without_rollbacks_the_first_value_that_is_not_finite_stops_at_once(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    config = load_config("wgan-gp-64", TINY[3::2])
    session = start_run(tmp_path / "run", tiny_data, config, place=HERE, limits=Limits(rollbacks=0, **limits))
    break_at(session, 1, monkeypatch)
    with pytest.raises(TrainingError, match="not finite at step 1, after 0 rollbacks"):
        session.fit()
    assert card_of(tmp_path / "run").step == 0


def test_a_stuck_critic_raises_an_alarm(tiny_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config("wgan-gp-64", [*TINY[3::2], "critic_optimiser.lr=1e-12"])
    for name, stuck in (("learning", False), ("stuck", True)):
        session = start_run(tmp_path / name, tiny_data, config, place=HERE, limits=Limits(steps=22, log_every=1))
        if stuck:
            with torch.no_grad():  # it has its bias for every image
                session.trainer.critic.value[1].weight.zero_()
        assert session.fit() == "finished"
        alarms = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert [alarm.getMessage().startswith("the critic is stuck: for 20 rows") for alarm in alarms] == [True] * stuck


# --- what a step does ---


def test_the_average_follows_the_weights(tiny_data: Path, tmp_path: Path) -> None:
    trainer = tiny_session(tiny_data, tmp_path / "run").trainer
    before = {name: value.clone() for name, value in trainer.ema.state_dict().items()}
    trainer.train_step()
    now = trainer.generator.state_dict()
    for name, value in trainer.ema.state_dict().items():
        if value.is_floating_point():  # at step 0 the decay is 1/10
            torch.testing.assert_close(value, 0.1 * before[name] + 0.9 * now[name])
        else:
            assert value == now[name]


def test_training_learns(tiny_data: Path) -> None:
    # 400 steps on 50 discs: the generated colours come to spread like the real ones. The spread goes up and down, on
    # each processor at other steps, so it is the mean of three.
    config = load_config(
        "wgan-gp-64", [*TINY[3::2], "generator_optimiser.lr=2e-3", "critic_optimiser.lr=2e-3", "generator.width=8"]
    )
    dataset = Dataset.open(tiny_data)
    trainer = Trainer(config, dataset.images, device=torch.device("cpu"), precision="fp32")
    z = torch.randn(64, config.generator.z_dim, generator=torch.Generator().manual_seed(0))
    real = torch.tensor(dataset.images).float()
    wanted = real.mean(dim=(1, 2)).std(dim=0).mean().item()

    def spread() -> float:
        """Of the colours, between images."""
        return float(((trainer.ema(z) + 1) * 127.5).mean(dim=(2, 3)).std(dim=0).mean())

    assert spread() < 0.2 * wanted
    spreads = []
    for step in range(400):
        trainer.train_step()
        if step in (299, 349, 399):
            spreads.append(spread())
    assert fmean(spreads) > 0.4 * wanted
    assert ((trainer.ema(z) + 1) * 127.5).mean().item() == pytest.approx(real.mean().item(), abs=25)


def test_devices_are_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="cuda was asked for"):
        choose_device("cuda")
    cpu = choose_device("auto")
    assert cpu.type == "cpu"
    assert choose_precision("fp32", cpu) == "fp32"
    assert choose_precision("bf16", cpu) == "bf16"
    assert choose_precision("auto", cpu) in {"fp32", "bf16"}


def test_bf16_trains(tiny_data: Path) -> None:
    config, images = load_config("wgan-gp-64", TINY[3::2]), Dataset.open(tiny_data).images
    exact = Trainer(config, images, device=torch.device("cpu"), precision="fp32")
    rough = Trainer(config, images, device=torch.device("cpu"), precision="bf16")
    figures = exact.train_step(), rough.train_step()
    assert figures[0]["gradient_norm"] == pytest.approx(figures[1]["gradient_norm"], rel=0.05)
    assert figures[0] != figures[1]
    assert all(p.dtype == torch.float32 for p in rough.generator.parameters())


# --- faults of paths, names and numbers ---


def test_a_checkpoint_that_no_run_can_read_is_never_written(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    session = start_run(tmp_path / "run", tiny_data, card_of(tiny_run).config, place=HERE, limits=Limits())
    good, target = card_of(tiny_run), tmp_path / "run" / checkpoint.NAME
    for wrong in (
        msgspec.structs.replace(good, seconds=float("nan")),
        msgspec.structs.replace(good, data_source=os.fsdecode(b"caf\xe9")),
        msgspec.structs.replace(good, config=msgspec.structs.replace(good.config, lambda_gp=float("inf"))),
    ):
        with pytest.raises(CheckpointError, match="no checkpoint was written, as its card could not be read again"):
            checkpoint.save(target, session.trainer, wrong)
        assert not list(target.parent.iterdir())
    checkpoint.save(target, session.trainer, good)
    assert checkpoint.read_card(target) == good


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_a_file_in_the_folder_s_place(train: Run, tiny_data: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "afile").write_text("text")
    preset = TINY if command == "fit" else ("--presets", "wgan-gp-64", "--steps", "1")
    for out in ("afile", "afile/run", "n" * 256):
        done = train(command, *preset, "--data", tiny_data, "--out", tmp_path / out)
        assert_error(done, 1, str(tmp_path / out)[-200:].rpartition("/")[2] if command == "compare" else "")
        assert b"Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]
    assert (tmp_path / "afile").read_text() == "text"


def test_a_fault_of_the_path_is_no_damage(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="can't be read: Is a directory"):
        checkpoint.read_card(tmp_path / "folder.safetensors")
    with pytest.raises(CheckpointError, match="can't be read: File name too long"):
        checkpoint.read_card(tmp_path / ("n" * 256))
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.read_card(tiny_run / checkpoint.NAME / checkpoint.NAME)


def test_networks_beyond_memory_are_refused(
    train: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("train.run.open.Trainer", refuse)
    done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run")
    assert_error(done, 2, "take more memory than there is on cpu", "generator.width")


def test_names_that_are_no_utf8(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run, model = tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"caf\xe9.onnx")
    new = train("fit", *TINY, "--data", tiny_data, "--out", run)
    assert_error(new, 1, r"caf\xe9 is a name that is no UTF-8")
    shutil.copytree(tiny_run, run)
    for command in (("fit", "--resume", "--data", tiny_data, "--out", run), ("export", run, "--out", model)):
        assert_error(train(*command), 1, r"caf\xe9/checkpoint.safetensors is a name that is no UTF-8")
    for command in (("export", tiny_run, "--out", model), ("plot", run, "--out", tmp_path / os.fsdecode(b"\xff.png"))):
        done = train(*command)
        assert done.returncode == 0, done.stderr.decode()
    with Generator.load(model, device="cpu") as generator:
        assert generator.card.name == r"caf\xe9"
