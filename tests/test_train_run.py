"""A run from start to end: what it leaves behind, and that a resumed one is the same run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, TINY, Run, assert_error, picture_zip
from PIL import Image

torch = pytest.importorskip("torch")

import msgspec
from safetensors.torch import load_file

from animegen import DeviceError, OutputError
from animegen import Generator as ShippedGenerator
from animegen.files import sha256
from train.config import Config, load_config
from train.data import Dataset, prepare
from train.errors import CheckpointError, TrainingError
from train.run import checkpoint
from train.run.log import read_rows
from train.run.open import open_session
from train.run.session import Limits, Session
from train.step.devices import choose_device, choose_precision
from train.step.trainer import Trainer

PARTS = ("generator", "critic", "ema", "generator_optimiser")
CPU = ("--threads", "1", "--device", "cpu", "--log-every", "1")


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / checkpoint.NAME)


def assert_equal_states(one: Path, other: Path) -> None:
    """Weights, EMA, both optimisers and counters are equal to the last bit."""
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    parts = {name.partition(".")[0] for name in left}
    # Plain gradient descent keeps nothing.
    assert set(PARTS) <= parts <= {"critic_optimiser", *PARTS}
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []
    assert checkpoint.read_card(one / checkpoint.NAME).step == checkpoint.read_card(other / checkpoint.NAME).step


def metrics(run: Path) -> list[dict[str, float]]:
    """The rows, without what a clock decides."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in {"seconds", "images_per_second"}} for row in rows]


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
    card = checkpoint.read_card(tiny_run / checkpoint.NAME)
    assert (card.step, card.images_seen, card.sessions, card.device) == (6, 96, 1, "cpu")
    assert card.config == load_config("wgan-gp-64", TINY[3::2])


def test_a_resumed_run_ends_bit_equal(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", run, "--steps", 2)
    assert first.returncode == 0, first.stderr.decode()
    # Rows that were written after the last checkpoint are written again, once.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "from": "a step that was lost"}\n{"step": 4, "cu')
    second = train("fit", "--resume", *CPU, "--data", tiny_data, "--out", run, "--steps", 6)
    assert second.returncode == 0, second.stderr.decode()
    assert "resumed at step 2" in second.stderr.decode()
    assert_equal_states(run, tiny_run)
    assert metrics(run) == metrics(tiny_run)
    assert checkpoint.read_card(run / checkpoint.NAME).sessions == 2
    starts = read_rows(run / "sessions.jsonl")
    assert [row["step"] for row in starts] == [0, 2]
    assert starts[1]["began"] >= starts[0]["began"]
    assert {(row["device"], row["threads"], row["processes"]) for row in starts} == {("cpu", 1, 1)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_rest_is_as_if_it_had_not_been(
    train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "train", "fit", *TINY, *CPU, "--data", str(tiny_data), "--out", str(run)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("step 2/"):
                process.send_signal(number)
                break
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "continue with: python -m train fit --resume" in said
    step = checkpoint.read_card(run / checkpoint.NAME).step
    assert step >= 2
    assert metrics(run)[-1]["step"] == step
    whole = tmp_path / "whole"
    for folder, arguments in ((run, ["--resume"]), (whole, TINY)):
        done = train("fit", *arguments, *CPU, "--data", tiny_data, "--out", folder, "--steps", step + 3)
        assert done.returncode == 0, done.stderr.decode()
    assert_equal_states(run, whole)
    assert metrics(run) == metrics(whole)


def test_a_killed_run_resumes_from_its_last_checkpoint(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [sys.executable, "-m", "train", "fit", *TINY, *CPU, "--checkpoint-every", "2"]
    command += ["--data", str(tiny_data), "--out", str(run)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("step 5/"):
                process.kill()
                break
    step = checkpoint.read_card(run / checkpoint.NAME).step
    assert step >= 4
    assert step % 2 == 0
    for folder, arguments in ((run, ["--resume"]), (whole, TINY)):
        done = train("fit", *arguments, *CPU, "--data", tiny_data, "--out", folder, "--steps", step + 3)
        assert done.returncode == 0, done.stderr.decode()
    assert_equal_states(run, whole)


def test_minutes_end_a_session(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--minutes", 0.02)
    assert done.returncode == 0
    assert "out of time at step" in done.stderr.decode()
    assert time.monotonic() - began < 120
    assert checkpoint.read_card(tmp_path / "run" / checkpoint.NAME).step < 100_000


def test_it_says_what_it_runs(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 1)
    said = done.stderr.decode()
    assert done.stdout == b""
    for words in (
        "wgan-gp-64 on cpu",
        "1 CPU threads",
        "closed form",
        "50 images",
        "step 1/1 loss",
        "W ",
        "|∇|",
        "left",
    ):
        assert words in said


def test_another_configuration_is_refused_with_its_differences(train: Run, tiny_run: Path, tiny_data: Path) -> None:
    before = (tiny_run / checkpoint.NAME).read_bytes()
    changed = [*TINY, "--set", "lambda_gp=5", "--set", "critic.width=8"]
    done = train("fit", "--resume", *changed, "--data", tiny_data, "--out", tiny_run)
    assert_error(done, 1, "critic.width: 4 → 8", "lambda_gp: 10.0 → 5.0", "another folder")
    assert (tiny_run / checkpoint.NAME).read_bytes() == before


def test_a_run_starts_from_another_one(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "tuned.onnx"
    changed = ("--set", "batch_size=16", "--set", "ema=0.99", "--set", "generator_optimiser.lr=1e-9")
    done = train("fit", "--from", tiny_run, *TINY, *changed, *CPU, "--data", tiny_data, "--out", run, "--steps", 1)
    assert done.returncode == 0, done.stderr.decode()
    assert "from wgan-gp-64 at step 6, 96 real images seen" in done.stderr.decode()
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

    done = train("fit", "--resume", *CPU, "--data", tiny_data, "--out", run, "--steps", 2)
    assert done.returncode == 0, done.stderr.decode()
    card = checkpoint.read_card(run / checkpoint.NAME)
    assert (card.step, card.images_seen, card.config.batch_size) == (2, 96 + 64, 16)
    (origin,) = card.origins
    assert (origin.step, origin.images_seen, origin.config.batch_size) == (6, 96, 8)
    assert origin.checkpoint_sha256 == sha256(tiny_run / checkpoint.NAME)

    done = train("export", run, "--out", model)
    assert done.returncode == 0, done.stderr.decode()
    with ShippedGenerator.load(model, device="cpu") as loaded:
        shipped = loaded.card
    assert (shipped.steps, shipped.images_seen) == (6 + 2, 96 + 64)
    (earlier,) = shipped.earlier
    assert (earlier["steps"], earlier["images_seen"]) == (6, 96)
    assert "batch_size: 8 → 16" in earlier["recipe"]

    third = train("fit", "--from", run, *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "third", "--steps", 1)
    assert third.returncode == 0, third.stderr.decode()
    card = checkpoint.read_card(tmp_path / "third" / checkpoint.NAME)
    assert ([origin.step for origin in card.origins], card.images_seen) == ([6, 2], 96 + 64 + 16)


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


def test_no_dataset(train: Run, tmp_path: Path) -> None:
    assert_error(train("fit", *TINY, "--data", tmp_path, "--out", tmp_path / "run"), 1, "no packed dataset", "prepare")


def test_damaged_checkpoints_are_named(train: Run, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    whole = (tiny_run / checkpoint.NAME).read_bytes()
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for data in (whole[: len(whole) // 2], whole[:-1], whole[:5], b"", b"x" * 1000):
        (run / checkpoint.NAME).write_bytes(data)
        done = train("fit", "--resume", "--data", tiny_data, "--out", run) if data == whole[: len(whole) // 2] else None
        if done is not None:
            assert_error(done, 1, "checkpoint.safetensors is damaged", "new run")
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoint.read_card(run / checkpoint.NAME)
        assert (run / checkpoint.NAME).read_bytes() == data


def test_no_space_for_a_checkpoint_keeps_the_last_one(tiny_data: Path, tiny_run: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = (run / checkpoint.NAME).read_bytes()
    limit = len(before) // 2

    def little_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [
        sys.executable,
        "-m",
        "train",
        "fit",
        "--resume",
        *CPU,
        "--data",
        tiny_data,
        "--out",
        run,
        "--steps",
        "7",
    ]
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, check=False, preexec_fn=little_space,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: " in done.stderr.decode()
    assert "checkpoint.safetensors can't be written" in done.stderr.decode().splitlines()[-1]
    assert (run / checkpoint.NAME).read_bytes() == before
    assert not list(run.glob(".*"))


@pytest.mark.parametrize(
    "preset",
    ["wgan-anime64", "sngan-64", "ragan-anime64", "r3gan-64", "wgan-gp-anime32-in", "dcgan-noisy-anime64"],
)
@pytest.mark.parametrize("optimiser", ["its own", "sgd"])
def test_every_kind_of_state_is_resumed(preset: str, optimiser: str, tiny_data: Path, tmp_path: Path) -> None:
    settings = [*TINY[3::2], "n_generator=2", "augment=['color']", "label_noise=0.0", "lr_decay=0.9"]
    settings += ["epochs=1"] if preset.endswith("anime64") else ["steps=4"]
    (tmp_path / "mine.toml").write_text(
        (ROOT / "train" / "presets" / f"{preset}.toml").read_text()
        if optimiser == "its own"
        else "[critic_optimiser]\nalgorithm = 'sgd'\n[generator_optimiser]\nalgorithm = 'rmsprop'"
    )
    config = load_config(str(tmp_path / "mine.toml"), settings)

    def fit(run: Path, steps: int) -> None:
        resume = run.exists()
        limits = Limits(steps=steps, log_every=1)
        cpu = torch.device("cpu")
        open_session(
            run, tiny_data, config=config, resume=resume, device=cpu, precision="fp32", limits=limits
        ).fit()  # fmt: skip

    fit(tmp_path / "whole", 4)
    for steps in (1, 3, 4):
        fit(tmp_path / "parts", steps)
    assert_equal_states(tmp_path / "parts", tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def tiny_session(tiny_data: Path, run: Path) -> Session:
    config = load_config("wgan-gp-64", TINY[3::2])
    dataset = Dataset.open(tiny_data)
    trainer = Trainer(config, dataset.images, device=torch.device("cpu"), precision="fp32")
    run.mkdir()
    return Session(trainer, dataset, run, Limits(steps=3, log_every=1))


def break_at(session: Session, step: int, monkeypatch: pytest.MonkeyPatch, times: int = 1000) -> list[float]:
    """Let a step of the trainer poison the critic, so many times; the learning rates' scale at each."""
    train_step, scales = session.trainer.train_step, []

    def poisoned() -> dict[str, float]:
        if session.trainer.step == step - 1 and len(scales) < times:
            scales.append(session.trainer.lr_scale)
            with torch.no_grad():
                session.trainer.critic[-2].bias.fill_(float("nan"))
        return train_step()

    monkeypatch.setattr(session.trainer, "train_step", poisoned)
    return scales


def test_a_value_that_is_not_finite_stops_the_run(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = Limits(steps=5, log_every=1, checkpoint_every=2)
    session = dataclasses.replace(tiny_session(tiny_data, tmp_path / "run"), limits=limits)
    scales = break_at(session, 4, monkeypatch)
    with pytest.raises(TrainingError, match=r"critic_loss, .*, generator_loss is not finite at step 4, after 3 rollb"):
        session.fit()
    assert scales == [1, 0.5, 0.25, 0.125]
    card = checkpoint.read_card(tmp_path / "run" / checkpoint.NAME)
    assert (card.step, card.rollbacks) == (2, 3)
    assert all(value.isfinite().all() for value in tensors(tmp_path / "run").values())
    assert [row["step"] for row in metrics(tmp_path / "run")] == [1, 2, 3]
    assert "back to step 2, and on with 0.5 of the learning rates (rollback 1 of 3)" in capsys.readouterr().err


def test_a_run_goes_on_after_a_rollback_and_a_resume_remembers_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Run
) -> None:
    limits = Limits(steps=5, log_every=1, checkpoint_every=2)
    session = dataclasses.replace(tiny_session(tiny_data, tmp_path / "run"), limits=limits)
    break_at(session, 4, monkeypatch, times=1)
    assert session.fit() == "finished"
    assert [row["step"] for row in metrics(tmp_path / "run")] == [1, 2, 3, 4, 5]
    assert checkpoint.read_card(tmp_path / "run" / checkpoint.NAME).rollbacks == 1
    assert session.trainer.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.5e-4)
    done = train("fit", "--resume", *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 6)
    assert done.returncode == 0, done.stderr.decode()
    assert checkpoint.read_card(tmp_path / "run" / checkpoint.NAME).rollbacks == 1


def test_without_rollbacks_the_first_value_that_is_not_finite_stops_at_once(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limits in {
        "between two rows": Limits(steps=3, log_every=100, checkpoint_every=1, rollbacks=0),
        "out of time": Limits(steps=300, log_every=1000, checkpoint_every=1000, minutes=0.1, rollbacks=0),
    }.items():
        session = dataclasses.replace(tiny_session(tiny_data, tmp_path / name), limits=limits)
        break_at(session, 1, monkeypatch)
        with pytest.raises(TrainingError, match="not finite at step 1, after 0 rollbacks"):
            session.fit()
        assert checkpoint.read_card(tmp_path / name / checkpoint.NAME).step == 0


def test_a_stuck_critic_raises_an_alarm(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = tiny_session(tiny_data, tmp_path / "run")
    session = dataclasses.replace(session, limits=Limits(steps=25, log_every=1))
    assert session.fit() == "finished"
    assert "stuck" not in capsys.readouterr().err
    critic = session.trainer.critic
    session.trainer.critic_optimiser.zero_grad()
    session.trainer.config = hardly_learning(session)
    with torch.no_grad():  # it says its bias of every image
        critic[-2].weight.zero_()
    dataclasses.replace(session, limits=Limits(steps=50, log_every=1)).fit()
    assert capsys.readouterr().err.count("warning: the critic is stuck: for 20 rows") == 1


def hardly_learning(session: Session) -> Config:
    """The session's configuration with a critic that hardly learns."""
    old = session.trainer.config
    return msgspec.structs.replace(old, critic_optimiser=msgspec.structs.replace(old.critic_optimiser, lr=1e-12))


def test_tensorboard_events_hold_the_rows(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    done = train("fit", *TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 2, "--tensorboard")
    assert done.returncode == 0, done.stderr.decode()
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert events.read_bytes().count(b"metrics/wasserstein") == 2


def test_tensorboard_missing_is_one_line(train: Run, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorboardX.py").write_text("raise ImportError('not here')")
    arguments = [*TINY, *CPU, "--data", tiny_data, "--out", tmp_path / "run", "--steps", 2, "--tensorboard"]
    done = train("fit", *arguments, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "tensorboardX: pip install -e '.[cpu,train,tensorboard]'" in done.stderr.decode().splitlines()[-1]


def test_a_full_disk_while_saving(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = tiny_session(tiny_data, tmp_path / "run")

    def full(*_: object, **__: object) -> None:
        raise checkpoint.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        session.save()
    assert not list((tmp_path / "run").iterdir())


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


def test_training_learns(tiny_data: Path, tmp_path: Path) -> None:
    # 300 steps on 50 discs: the generated colours come to spread like the real ones.
    config = load_config(
        "wgan-gp-64", [*TINY[3::2], "generator_optimiser.lr=2e-3", "critic_optimiser.lr=2e-3", "generator.width=8"]
    )
    dataset = Dataset.open(tiny_data)
    trainer = Trainer(config, dataset.images, device=torch.device("cpu"), precision="fp32")
    for _ in range(300):
        trainer.train_step()
    z = torch.randn(64, config.generator.z_dim, generator=torch.Generator().manual_seed(0))
    images = (trainer.ema(z) + 1) * 127.5
    real = torch.tensor(dataset.images).float()
    assert images.mean().item() == pytest.approx(real.mean().item(), abs=25)
    between_images = images.mean(dim=(2, 3)).std(dim=0).mean().item()
    assert between_images > 0.4 * real.mean(dim=(1, 2)).std(dim=0).mean().item()


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
    config = load_config("wgan-gp-64", TINY[3::2])
    trainers = [
        Trainer(config, Dataset.open(tiny_data).images, device=torch.device("cpu"), precision=precision)
        for precision in ("fp32", "bf16")
    ]
    exact, rough = (trainer.train_step() for trainer in trainers)
    assert exact["gradient_norm"] == pytest.approx(rough["gradient_norm"], rel=0.05)
    assert exact != rough
    assert all(p.dtype == torch.float32 for p in trainers[1].generator.parameters())
