"""The frozen features: how they are learnt and whitened, and a critic that sees faces through them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import plain_faces
import pytest
from conftest import ROOT, Run, assert_error, run

torch = pytest.importorskip("torch")

from safetensors import safe_open

from animegen.images import Images
from train import checkpoint, penalty
from train.config import load_config
from train.data import Dataset, prepare
from train.errors import ConfigError
from train.features import file, lens
from train.features.faults import CELL, spoil
from train.features.network import FeatureNetwork
from train.networks import FeatureCritic
from train.tagger.training import to_input
from train.trainer import Trainer

SMALL = ["generator.width=4", "generator.z_dim=8", "critic.width=4", "n_critic=1", "batch_size=4"]
LIMITS = ("--log-every", "1", "--threads", "1", "--precision", "fp32", "--device", "cpu")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return plain_faces.write(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def made(faces: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A features file, and what the command that made it said."""
    out = tmp_path_factory.mktemp("features") / "plain.safetensors"
    command = ("features", "--data", faces[0], "--tags", faces[1], "--out", out, "--epochs", "6", "--threads", "1")
    done = run(sys.executable, "-m", "train", *command, "--licence", "CC0", cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stderr.decode()


@pytest.fixture(scope="module")
def data(faces: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "plain64"
    prepare(faces[0], out, size=64)
    return out


def noise(count: int) -> Images:
    return np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), np.uint8)


def trainer(made: tuple[Path, str], images: Images, *settings: str) -> Trainer:
    config = load_config("anime-face-64", [*SMALL, f"critic.features={made[0]}", *settings])
    return Trainer(config, images, device=torch.device("cpu"), precision="fp32")


def test_the_network_reads_tags_and_finds_faults(made: tuple[Path, str]) -> None:
    _, card = file.read(made[0])
    assert card.accuracy["hair"] > 0.9  # blind: a third
    assert card.accuracy["spoilt"] > 0.6  # blind: a half
    assert (card.trained_on + card.held_out, card.epochs, card.licence) == (400, 6, "CC0")
    assert "hair" in made[1]
    assert "plain.safetensors" in made[1]


def test_a_file_holds_the_lens_exactly(made: tuple[Path, str], tmp_path: Path) -> None:
    first, card = file.read(made[0])
    file.write(tmp_path / "again.safetensors", first, card)
    assert (tmp_path / "again.safetensors").read_bytes() == made[0].read_bytes()
    assert not list(first.parameters())


def test_features_are_sharpened_against_a_generator(
    made: tuple[Path, str], faces: tuple[Path, Path], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.features import making

    monkeypatch.setattr(making, "_GENERATED", 300)
    monkeypatch.setattr(making, "_KEPT", 40)
    monkeypatch.setattr(making, "_generated", lambda _path: noise(300))
    card = making.train_features(
        *faces,
        tmp_path / "sharp.safetensors",
        epochs=1,
        seed=0,
        licence="",
        provenance="",
        against=[tiny_model],
        start=made[0],
    )
    assert card.accuracy[f"told from {tiny_model.name}"] > 0.95
    assert card.accuracy["hair"] > 0.8  # five steps from the first features on; from random ones they teach nothing
    assert (len(card.against), len(card.start_sha256 or "")) == (1, 64)
    assert file.read(tmp_path / "sharp.safetensors")[1] == card


def test_real_images_are_white(made: tuple[Path, str], data: Path) -> None:
    images = Dataset.open(data).images
    seen, _ = file.read(made[0])
    with torch.no_grad():
        vectors = torch.cat([seen(to_input(np.array(part))) for part in np.array_split(images, 4)])
    (small, *maps), pooled = lens.split(vectors)
    assert small.shape == (400, 3, lens.SMALL, lens.SMALL)
    pixels = torch.nn.functional.avg_pool2d(to_input(np.array(images)), 2)
    spread, before = (torch.linalg.eigvalsh(torch.cov(x.flatten(1).T)).max() for x in (small, pixels))
    assert before > 50
    assert spread < 5  # so few images don't tell the variances of so many pixels well
    assert pooled.shape == (400, lens.POOLED)
    covariance = torch.cov(pooled.T)
    # No direction varies more than one deviation, but for the held-out tenth and the ridge.
    assert torch.linalg.eigvalsh(covariance).max() < 2
    assert pooled.mean(0).abs().max() < 0.3
    for own, side, channels in zip(maps, lens.SIDES, lens.CHANNELS, strict=True):
        assert own.shape == (400, channels, side, side)
        assert own.var((0, 2, 3)).sum() * side**2 <= 4 * channels * 1.2


def test_vectors_are_taken_apart_as_they_were_put_together() -> None:
    vectors = torch.arange(2 * lens.LENGTH, dtype=torch.float32).view(2, -1)
    maps, pooled = lens.split(vectors)
    again = [own.permute(0, 2, 3, 1).flatten(1) for own in maps]
    assert torch.equal(torch.cat([*again, pooled], 1), vectors)


def test_a_lens_is_whitened_whatever_it_sees() -> None:
    torch.manual_seed(0)
    network = FeatureNetwork([2])
    network.freeze()
    found = lens.Lens(network)
    still = torch.zeros(16, 3, 64, 64)  # known hard: images that don't vary at all
    found.fit([still, still])
    assert all(value.isfinite().all() for value in found.state_dict().values())
    assert found(still).isfinite().all()


def test_faults_are_where_they_are_said_to_be() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(-1, 1, (64, 3, 64, 64)).astype(np.float32))
    spoilt, shares = spoil(x, rng)
    assert shares.shape == (64, 1, 64 // CELL, 64 // CELL)
    assert 0 <= shares.min() <= shares.max() <= 1
    changed = torch.nn.functional.avg_pool2d((spoilt - x).abs().mean(1, keepdim=True), CELL)
    assert changed[shares == 0].max() < 0.05
    assert changed[shares > 0.9].mean() > 0.2
    sound = (shares.flatten(1).max(1).values == 0).float().mean()
    assert 0.03 < sound < 0.35  # one kind in eight is none
    assert spoilt.abs().max() <= 1 + 1e-6


def test_the_critic_trains_and_its_lens_does_not(made: tuple[Path, str], data: Path) -> None:
    tested = trainer(made, Dataset.open(data).images)
    assert isinstance(tested.critic, FeatureCritic)
    before = {name: value.clone() for name, value in tested.critic.state_dict().items()}
    generator = {name: value.clone() for name, value in tested.generator.state_dict().items()}
    figures = tested.train_step()
    assert figures["gradient_norm"] > 0
    changed = {name for name, value in tested.critic.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not [name for name in changed if name.startswith("lens.")]
    assert any(not torch.equal(value, generator[name]) for name, value in tested.generator.state_dict().items())


def test_the_slope_is_bounded_by_the_vectors_norm(made: tuple[Path, str], data: Path) -> None:
    tested = trainer(made, Dataset.open(data).images)
    x = to_input(np.array(Dataset.open(data).images[:4]))
    vectors = tested.critic.view(x).detach()
    gradient = penalty.input_gradient(tested.critic, vectors)
    assert gradient.shape == (4, lens.LENGTH)
    step = 1e-2 * gradient.detach() / gradient.detach().norm(dim=1, keepdim=True)
    with torch.no_grad():
        rise = (tested.critic(vectors + step) - tested.critic(vectors - step)) / 2e-2
    torch.testing.assert_close(rise, gradient.detach().norm(dim=1), rtol=2e-2, atol=1e-3)


def test_a_run_goes_on_exactly_and_its_critic_travels(
    made: tuple[Path, str], data: Path, tmp_path: Path, train: Run
) -> None:
    given = [part for value in (*SMALL, f"critic.features={made[0]}") for part in ("--set", value)]
    start = ("fit", "--preset", "anime-face-64", *given, *LIMITS, "--data", data)
    for name, steps in (("whole", "3"), ("parts", "2")):
        done = train(*start, "--steps", steps, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr.decode()
    resumed = train("fit", "--resume", *LIMITS, "--steps", "3", "--data", data, "--out", tmp_path / "parts")
    assert resumed.returncode == 0, resumed.stderr.decode()
    whole, parts = (safe_open(tmp_path / name / checkpoint.NAME, "pt") for name in ("whole", "parts"))
    assert all(torch.equal(whole.get_tensor(name), parts.get_tensor(name)) for name in whole.keys())  # noqa: SIM118
    model, critic = tmp_path / "faces.onnx", tmp_path / "critic.safetensors"
    done = train("export", tmp_path / "whole", "--out", model, "--critic", critic)
    assert done.returncode == 0, done.stderr.decode()
    onwards = ("fit", "--from", model, "--critic", critic, "--preset", "anime-face-64", *given, *LIMITS, "--data", data)
    done = train(*onwards, "--steps", "1", "--out", tmp_path / "onwards")
    assert done.returncode == 0, done.stderr.decode()
    rows = [json.loads(line) for line in (tmp_path / "onwards" / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(rows[-1]["wasserstein"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["critic.features=nowhere.safetensors"], "python -m train features"),
        (["critic.norm=instance"], "critic.norm"),
        (["critic.blocks=1"], "critic.blocks"),
        (["size=32"], "64×64×3"),
        (["channels=1"], "64×64×3"),
    ],
)
def test_what_features_do_not_go_with_is_refused(
    made: tuple[Path, str], data: Path, settings: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        trainer(made, Dataset.open(data).images, *settings)


def test_what_is_no_features_file_is_refused(
    made: tuple[Path, str], faces: tuple[Path, Path], data: Path, tmp_path: Path, train: Run
) -> None:
    (tmp_path / "cut.safetensors").write_bytes(made[0].read_bytes()[:10_000])
    with pytest.raises(ConfigError, match="holds no features"):
        trainer((tmp_path / "cut.safetensors", ""), Dataset.open(data).images)
    done = train("features", "--data", faces[0], "--tags", faces[1], "--out", tmp_path / "features.onnx")
    assert_error(done, 2, "extension '.onnx'", ".safetensors")
    assert not (tmp_path / "features.onnx").exists()
