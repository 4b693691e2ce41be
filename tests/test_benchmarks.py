"""The benchmark of a training step: both of its loops compute the same, and it runs. What carries a run to a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, TINY, run

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from train.config import load_config
from train.step import draws
from train.step.real_images import RealImages
from train.step.trainer import Trainer

SCRIPT = ROOT / "benchmarks" / "train_step.py"
GPU_RUN = ROOT / "benchmarks" / "gpu_run.sh"
LOOPS, KINDS = ("textbook", "ours"), ("critic", "generator")


def script(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def train_step() -> ModuleType:
    """The benchmark of a training step."""
    return script(SCRIPT)


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("step", KINDS)
def test_both_loops_compute_the_same_gradients(step: str, train_step: ModuleType) -> None:
    config, cpu = load_config(TINY[1], TINY[3::2]), torch.device("cpu")
    images = train_step.random_images(config)
    trainer = Trainer(config, images, device=cpu, precision="fp32")
    textbook = train_step.Textbook(trainer, images)
    if step == "critic":
        real_images = RealImages(images, config.batch_size, cpu, resident=False)
        arrays = real_images.load(draws.critic_step(config, 0, len(images)))
        inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
        trainer.critic_step(0)
        textbook.critic_step(real_images.images(inputs), inputs["z"], inputs["epsilon"])
        ours, theirs = gradients(trainer.critic), gradients(textbook.critic)
        assert len(ours) == len(list(trainer.critic.parameters()))
    else:
        trainer.generator_step(0)
        textbook.generator_step(torch.from_numpy(draws.generator_step(config, 0, len(images))["z"]))
        ours, theirs = gradients(trainer.generator), gradients(textbook.generator)
        assert len(ours) == len(list(trainer.generator.parameters()))
        assert gradients(textbook.critic)  # the work that ours leaves out
    assert len(ours) == len(theirs)
    assert sum(gradient.norm() > 1e-3 for gradient in theirs) >= len(theirs) - 1  # the critic's last bias has none
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-6


def test_the_report(
    train_step: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = {kind: {loop: {"before": 200.0, "peak": 300.0} for loop in LOOPS} for kind in KINDS}
    monkeypatch.setattr(train_step, "memory_of_children", lambda _: memory)
    arguments = ["train_step.py", *TINY, "--steps", "1", "--repeats", "2", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    train_step.main()
    report = json.loads(capsys.readouterr().out)
    assert report["penalty"].startswith("closed form")
    assert {"processor", "device", "precision", "threads", "torch"} <= report.keys()
    for kind in KINDS:
        assert report["results"][kind]["ratio"]["median"] > 0
        for loop in LOOPS:
            speed = report["results"][kind][loop]
            assert 0 < speed["fastest_ms"] <= speed["median_ms"] <= speed["slowest_ms"]
    monkeypatch.setattr(sys, "argv", arguments)
    train_step.main()
    shown = capsys.readouterr().out
    for words in (
        "closed form",
        "device cpu",
        "images/s",
        "peak 300 MB",
        "critic    step, ratio",
        "2 critic steps and",
    ):
        assert words in shown


def test_peak_memory_is_that_of_a_process_of_its_own(train_step: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "LOOPS", LOOPS[:1])
    monkeypatch.setattr(train_step, "STEPS", KINDS[:1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    memory = train_step.memory_of_children([*TINY, "--device", "cpu"])["critic"]["textbook"]
    assert 50 < memory["before"] <= memory["peak"] < 3000


@pytest.mark.parametrize("wrong", ["--preset=no", "--set=n_critic=0"])
def test_bad_input(
    wrong: str, train_step: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_step.py", wrong])
    with pytest.raises(SystemExit, match="2"):
        train_step.main()
    assert "error: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def gpu_carry() -> ModuleType:
    """What `gpu_run.sh` calls."""
    return script(ROOT / "benchmarks" / "gpu_carry.py")


def gpu_run(*words: str | Path, **settings: str | Path) -> subprocess.CompletedProcess[bytes]:
    environment = {f"ANIMEGEN_GPU_RUN_{name}": str(value) for name, value in settings.items()}
    return run("bash", GPU_RUN, *words, env={**environment, "PYTHON": sys.executable})


def test_the_shell_is_sound() -> None:
    checks = [["bash", "-n"], *([["shellcheck"]] if shutil.which("shellcheck") else [])]
    for check in checks:
        done = run(*check, GPU_RUN)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    done = gpu_run("stroll")
    assert done.returncode == 1
    assert b"say one of pack, plan" in done.stderr


def test_a_checkpoint_travels_in_parts(tmp_path: Path) -> None:
    whole, parts, joined = tmp_path / "whole.bin", tmp_path / "parts", tmp_path / "there" / "joined.bin"
    whole.write_bytes(os.urandom(2500))
    assert gpu_run("split", whole, parts, PART="1000").returncode == 0
    assert [path.stat().st_size for path in sorted(parts.glob("*.0*"))] == [1000, 1000, 500]
    done = gpu_run("join", parts, whole.name, joined)
    assert done.returncode == 0, done.stderr.decode()
    assert joined.read_bytes() == whole.read_bytes()
    last = parts / "whole.bin.002"
    for harm in (lambda: last.write_bytes(bytes(500)), last.unlink):
        joined.unlink(missing_ok=True)
        harm()
        done = gpu_run("join", parts, whole.name, joined)
        assert done.returncode == 1
        assert b"parts of whole.bin are missing or damaged" in done.stderr
        assert not joined.exists()


def test_what_comes_back_is_kept_until_it_is_whole(tmp_path: Path) -> None:
    model, results, carried, work = (tmp_path / name for name in ("anime-tags-64.onnx", "results", "carry", "work"))
    model.write_bytes(os.urandom(1500))
    assert gpu_run("split", model, results, PART="1000").returncode == 0
    late = results / f"{model.name}.001"
    moved = late.rename(tmp_path / late.name)
    done = gpu_run("keep", results, CARRY=carried, WORK=work)
    assert b"waits for 1 more parts" in done.stdout, done.stderr.decode()
    moved.rename(late)
    done = gpu_run("keep", results, CARRY=carried, WORK=work)
    assert done.returncode == 0, done.stderr.decode()
    assert (work / model.name).read_bytes() == model.read_bytes()


def test_faces_and_labels_travel_as_a_zip_and_a_table(gpu_carry: ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    from train.data import Dataset, prepare

    source = tmp_path / "source"
    for i in range(6):
        path = source / ("dogs" if i % 3 else "cats") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (40 * i, 10, 200)).save(path)
    prepare(source, tmp_path / "before", size=16)
    faces, table = tmp_path / "faces.zip", tmp_path / "labels.tsv"
    said = gpu_carry.pack(tmp_path / "before", faces, table, 6000)
    assert "6 pictures as WebP of quality 95" in said
    with zipfile.ZipFile(faces) as archive:
        assert sorted(archive.namelist()) == [f"{i:05d}.webp" for i in range(6)]
    prepare(faces, tmp_path / "after", size=16, labels=table)
    before, after = (Dataset.open(tmp_path / name) for name in ("before", "after"))
    assert before.labels is not None
    assert after.labels is not None
    assert after.labels.groups == before.labels.groups
    assert (after.labels.values == before.labels.values).all()
    assert abs(after.images.astype(int) - before.images.astype(int)).max() <= 8
    with pytest.raises(SystemExit, match="6 pictures take more than 500 bytes"):
        gpu_carry.pack(tmp_path / "before", faces, table, 500)


def test_files_are_cut_into_calls(gpu_carry: ModuleType) -> None:
    sizes = [("a", 5), ("b", 5), ("c", 1), ("d", 1), ("e", 1), ("f", 10)]
    assert gpu_carry.groups(sizes, most=3, limit=10) == [["a", "b"], ["c", "d", "e"], ["f"]]
    assert gpu_carry.groups([], most=3, limit=10) == []
    with pytest.raises(SystemExit, match="f has 10 bytes"):
        gpu_carry.groups(sizes, most=3, limit=9)


def test_what_a_machine_lacks(gpu_carry: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_carry.missing() == []
    asked = set(gpu_carry.requirements())
    assert {"click", "onnxruntime", "msgspec", "safetensors", "torch"} <= asked
    assert gpu_carry.UNUSED.isdisjoint(asked)
    monkeypatch.setattr(gpu_carry.importlib.metadata, "version", lambda _: "0.9")
    assert {"click>=8.2", "torch>=2.9"} <= set(gpu_carry.missing())


def test_a_checkpoint_of_half_the_size(gpu_carry: ModuleType, tiny_run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from train.run import checkpoint

    saved, half, back = checkpoint.of(tiny_run), tmp_path / "half.safetensors", tmp_path / "back.safetensors"
    gpu_carry.convert(saved, half, half=True)
    gpu_carry.convert(half, back, half=False)
    assert checkpoint.read_card(back) == checkpoint.read_card(saved)
    tensors, travelled = load_file(saved), load_file(half)
    assert {torch.float16, torch.bfloat16} <= {tensor.dtype for tensor in travelled.values()}
    for name, tensor in load_file(back).items():
        assert tensor.dtype == tensors[name].dtype
        torch.testing.assert_close(tensor, tensors[name], rtol=1e-2, atol=1e-7)


def test_the_last_line_of_a_run(gpu_carry: ModuleType, tiny_run: Path, tmp_path: Path) -> None:
    said = gpu_carry.report(tiny_run)
    assert said.startswith("96 images seen by step 6 (began at 0), ")
    assert said.endswith(" images a second, FID not measured")
    copy = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    rows = [{"fid": 30.0, "images_seen": 32}, {"fid": 40.0, "images_seen": 64}]
    (copy / "fid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert gpu_carry.report(copy).endswith("FID 40.00 at 64 images, best 30.00 at 32")
