"""The autoencoder, and generators and critics that work in its codes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import plain_faces
import pytest
from conftest import ROOT, Run, assert_error, run

torch = pytest.importorskip("torch")

from safetensors import safe_open
from torch.distributions import Normal, kl_divergence

import animegen
from animegen import images as pictures
from animegen import latents
from animegen.files import sha256
from animegen.images import Images
from train import checkpoint, penalty
from train.autoencoder import file, sharpening, training, tuning
from train.autoencoder.network import CHANNELS, SIDE, Autoencoder, Network
from train.codes import CodeCritic, CodeGenerator
from train.config import load_config
from train.data import Dataset, prepare
from train.errors import CheckpointError, ConfigError
from train.features import file as features
from train.features.lens import Lens
from train.features.network import FeatureNetwork
from train.reals import to_float
from train.tagger.training import to_input
from train.trainer import Trainer, to_uint8
from train.unfold import start_from_model

SMALL = ["generator.width=4", "generator.blocks=1", "generator.z_dim=8", "critic.width=4", "critic.blocks=1"]
SMALL += ["n_critic=1", "batch_size=4", "code_values=40"]
VALUES = 40
LIMITS = ("--log-every", "1", "--threads", "1", "--precision", "fp32", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(plain_faces.write(folder)[0], folder / "plain64", size=64)
    return folder / "plain64"


@pytest.fixture(scope="module")
def lens_file(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of random weights, whitened: pictures that are apart are apart in them."""
    torch.manual_seed(0)
    network = FeatureNetwork([2])
    network.freeze()
    lens = Lens(network)
    lens.fit([to_input(np.array(Dataset.open(data).images[:64]))])
    card = features.FeaturesCard(
        kind="features", format=features.FORMAT, data="", data_images=0, data_sha256="", tags="", trained_on=0,
        held_out=0, accuracy={}, epochs=1, seed=0, minutes=0, licence="", provenance="", code="",
    )  # fmt: skip
    out = tmp_path_factory.mktemp("features") / "random.safetensors"
    features.write(out, lens, card)
    return out


@pytest.fixture(scope="module")
def made(data: Path, lens_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An autoencoder's file, and what the command that made it said."""
    out = tmp_path_factory.mktemp("autoencoder") / "plain.safetensors"
    command = ("autoencoder", "--data", data, "--features", lens_file, "--out", out, "--values", str(VALUES))
    command += ("--epochs", "8", "--threads", "1")
    done = run(sys.executable, "-m", "train", *command, "--licence", "CC0", cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stderr.decode()


@pytest.fixture(scope="module")
def sharp(made: tuple[Path, str], data: Path, lens_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same autoencoder with a sharper decoder."""
    out = tmp_path_factory.mktemp("sharp") / "sharp.safetensors"
    command = ("sharpen", made[0], "--data", data, "--features", lens_file, "--out", out, "--epochs", "5")
    done = run(sys.executable, "-m", "train", *command, "--threads", "1", cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return out


def trainer(made: tuple[Path, str], images: Images, *settings: str) -> Trainer:
    return trainer_on("cpu", made, images, *settings)


def trainer_on(device: str, made: tuple[Path, str], images: Images, *settings: str) -> Trainer:
    config = load_config(
        "wgan-gp-64", ["generator.kernel=4", "critic.kernel=4", *SMALL, f"autoencoder={made[0]}", *settings]
    )
    return Trainer(config, images, device=torch.device(device), precision="fp32")


def test_pictures_come_back(made: tuple[Path, str], data: Path) -> None:
    _, card = file.read(made[0])
    assert (card.values, card.trained_on, card.held_out, card.epochs, card.licence) == (VALUES, 392, 8, 8, "CC0")
    pixels = np.array(Dataset.open(data).images, np.float32)
    blind = np.abs(pixels - pixels.mean(0)).mean()  # of an autoencoder that draws the mean picture
    assert card.grey_levels < 0.6 * blind
    assert f"{card.grey_levels} grey levels" in made[1]


def test_a_file_holds_the_autoencoder_exactly(made: tuple[Path, str], tmp_path: Path) -> None:
    autoencoder, card = file.read(made[0])
    file.write(tmp_path / "again.safetensors", autoencoder, card)
    assert (tmp_path / "again.safetensors").read_bytes() == made[0].read_bytes()
    assert not list(autoencoder.parameters())


def test_folding_keeps_what_was_learnt() -> None:
    torch.manual_seed(0)
    network = Network()
    x = torch.rand(8, 3, 64, 64) * 2 - 1
    for _ in range(3):  # statistics that aren't those it starts with
        network.decoder(network.encode(x)[0])
    network.eval()
    with torch.no_grad():
        maps, logs = network.encode(x)
        images = network.decoder(maps)
        autoencoder = Autoencoder(network, CHANNELS * SIDE**2)
        autoencoder.fit(torch.randn(2000, CHANNELS, SIDE, SIDE))  # in all directions, so nothing is lost
        found = autoencoder.encode(x)  # weights as fp16 holds them
        torch.testing.assert_close(found, (maps, logs), rtol=0.01, atol=0.01)
        torch.testing.assert_close(autoencoder.decoder(autoencoder.codes(maps)), images, rtol=0.01, atol=0.01)


def test_bits_are_what_a_map_tells(made: tuple[Path, str], lens_file: Path, data: Path) -> None:
    (autoencoder, _), (lens, _) = file.read(made[0]), features.read(lens_file)
    images = Dataset.open(data).images
    x = to_input(np.array(images))
    means, logs = autoencoder.encode(x)
    assert means.shape == logs.shape == (400, CHANNELS, SIDE, SIDE)
    torch.testing.assert_close(autoencoder.codes(means), autoencoder.encoder(x))
    known, unknown = Normal(means, (logs / 2).exp()), Normal(0.0, 1.0)
    told = kl_divergence(known, unknown).sum((1, 2, 3)).mean().item() / math.log(2)
    found = training.differences(autoencoder, lens, images)
    assert found.bits == pytest.approx(told, rel=1e-3)
    levels = 127.5 * (x - autoencoder.decoder(autoencoder.codes(means))).abs().mean().item()
    assert found.grey_levels == pytest.approx(levels, rel=1e-3)


def test_a_code_is_the_first_principal_components_of_a_map(made: tuple[Path, str], data: Path) -> None:
    autoencoder, card = file.read(made[0])
    x = to_input(np.array(Dataset.open(data).images))
    maps = torch.cat([autoencoder.encode(side)[0] for side in (x, x.flip(3))])
    codes = autoencoder.codes(maps)
    assert codes.shape == (800, VALUES, 1, 1)
    variances = torch.linalg.eigvalsh(torch.cov(maps.flatten(1).T)).flip(0)
    clear = int((variances > 0.01 * variances[0]).sum())  # what varies less is hardly more than rounding
    assert 3 < clear < VALUES
    spread = torch.cov(codes.flatten(1)[:, :clear].T)
    # But for the fiftieth of the images that was held out.
    torch.testing.assert_close(spread, torch.eye(clear), rtol=0.0, atol=0.1)
    torch.testing.assert_close(codes.mean(0).flatten(), torch.zeros(VALUES), rtol=0.0, atol=0.1)
    assert card.variance == pytest.approx((variances[:VALUES].sum() / variances.sum()).item(), abs=0.02)
    assert f"{card.variance:.0%}" in made[1]
    # What a code leaves out of a map lies in none of its directions.
    up, middle = autoencoder.decoder[:2]
    rest = maps - middle(up(codes))
    assert autoencoder.codes(rest + middle.bias).abs().max() < 0.1
    kept = rest.flatten(1).square().sum() / (maps - middle.bias).flatten(1).square().sum()
    assert 1 - kept.item() == pytest.approx(card.variance, abs=0.02)


def test_tuning_brings_more_back_by_other_codes(
    made: tuple[Path, str], sharp: Path, lens_file: Path, data: Path, tmp_path: Path, train: Run
) -> None:
    given = ("--data", data, "--features", lens_file, "--out", tmp_path / "tuned.safetensors", "--threads", "1")
    done = train("tune", made[0], *given, "--epochs", "4")
    assert done.returncode == 0, done.stderr.decode()
    (before, card), (after, tuned) = file.read(made[0]), file.read(tmp_path / "tuned.safetensors")
    assert (tuned.tuned, tuned.from_sha256, tuned.bits, tuned.variance) == (4, sha256(made[0]), 0.0, 0.0)
    assert tuned.grey_levels < 0.95 * card.grey_levels
    assert tuned.feature_distance < card.feature_distance
    assert f"{tuned.grey_levels} grey levels" in done.stderr.decode()
    x = to_input(np.array(Dataset.open(data).images))
    codes = torch.cat([after.encoder(side) for side in (x, x.flip(3))]).flatten(1)
    assert not torch.allclose(after.encoder(x), before.encoder(x), atol=0.1)
    # But for the fiftieth of the images that was held out.
    torch.testing.assert_close(torch.cov(codes.T).diag(), torch.ones(VALUES), rtol=0.0, atol=0.15)
    torch.testing.assert_close(codes.mean(0), torch.zeros(VALUES), rtol=0.0, atol=0.1)
    refused = train("tune", sharp, *given)
    assert_error(refused, 2, "was sharpened", "made of")


def test_whitening_draws_the_same(made: tuple[Path, str], data: Path) -> None:
    autoencoder, _ = file.read(made[0])
    x = to_input(np.array(Dataset.open(data).images))
    with torch.no_grad():
        before = autoencoder.decoder(autoencoder.encoder(x))
        mixed = torch.randn(VALUES, VALUES, generator=torch.Generator().manual_seed(0)) / VALUES**0.5
        down, up = autoencoder.encoder[-1], autoencoder.decoder[0]
        down.weight.copy_(torch.tensordot(mixed, down.weight, 1))
        down.bias.copy_(mixed @ down.bias + 3)
        inverse = mixed.double().inverse()
        up.weight.copy_(torch.tensordot(inverse.T, up.weight.double(), 1))
        autoencoder.decoder[1].bias -= torch.tensordot(
            torch.full((VALUES,), 3.0, dtype=torch.float64), up.weight.double(), 1
        )
        torch.testing.assert_close(autoencoder.decoder(autoencoder.encoder(x)), before, rtol=0.0, atol=0.02)
        autoencoder.whiten(autoencoder.encoder(x))
        codes = autoencoder.encoder(x)
        torch.testing.assert_close(autoencoder.decoder(codes), before, rtol=0.0, atol=0.02)
    spread = torch.cov(codes.flatten(1).T)
    known = spread.diag() > 0.5  # a direction in which codes hardly vary isn't blown up
    assert known.sum() > 3
    torch.testing.assert_close(spread[known][:, known], torch.eye(int(known.sum())), rtol=0.0, atol=0.1)


def test_sharpening_changes_what_is_drawn_and_no_code(made: tuple[Path, str], sharp: Path, data: Path) -> None:
    (before, card), (after, sharper) = file.read(made[0]), file.read(sharp)
    assert (sharper.sharpened, sharper.from_sha256) == (5, sha256(made[0]))
    assert (sharper.epochs, sharper.licence, sharper.trained_on) == (card.epochs, "CC0", card.trained_on)
    assert sharper.grey_levels != card.grey_levels
    encoders = zip(before.encoder.state_dict().values(), after.encoder.state_dict().values(), strict=True)
    assert all(torch.equal(own, other) for own, other in encoders)
    x = to_input(np.array(Dataset.open(data).images[:64]))
    codes = before.encoder(x)
    # The pictures are grainy. What is drawn by differences is smooth, and the critic wants grain; it had 51 steps.
    assert grain(before.decoder(codes)) < grain(after.decoder(codes)) < grain(x)


def test_a_blended_decoder_draws_between_both(
    made: tuple[Path, str], sharp: Path, lens_file: Path, data: Path, tmp_path: Path, train: Run
) -> None:
    given = ("blend", made[0], sharp, "--data", data, "--features", lens_file, "--out", tmp_path / "soft.safetensors")
    done = train(*given, "--share", 0.25)
    assert done.returncode == 0, done.stderr.decode()
    (before, _), (after, sharper), (between, card) = map(file.read, (made[0], sharp, tmp_path / "soft.safetensors"))
    assert msgspec.structs.replace(sharper, grey_levels=0, feature_distance=0, code="", share=0.25) == (
        msgspec.structs.replace(card, grey_levels=0, feature_distance=0, code="")
    )
    assert f"{card.grey_levels} grey levels" in done.stderr.decode()
    again = train("blend", made[0], tmp_path / "soft.safetensors", *given[3:-1], tmp_path / "softer.safetensors")
    assert again.returncode == 0, again.stderr.decode()
    assert file.read(tmp_path / "softer.safetensors")[1].share == 0.125
    assert len({card.grey_levels, sharper.grey_levels, file.read(made[0])[1].grey_levels}) == 3
    states = (network.state_dict() for network in (before, after, between))
    for blurred, sharpened, found in zip(*(state.values() for state in states), strict=True):
        torch.testing.assert_close(found, 0.75 * blurred + 0.25 * sharpened, rtol=2e-3, atol=1e-6)
    codes = before.encoder(to_input(np.array(Dataset.open(data).images[:64])))
    own, blurred, sharpened = (network.decoder(codes) for network in (between, before, after))
    whole = (sharpened - blurred).abs().mean()
    assert (own - blurred).abs().mean() < 0.5 * whole
    assert (own - sharpened).abs().mean() < whole


def grain(images: torch.Tensor) -> float:
    """The mean difference between neighbours."""
    return images.diff(dim=3).abs().mean().item()


def test_networks_of_codes_train_and_the_autoencoder_does_not(made: tuple[Path, str], data: Path) -> None:
    tested = trainer(made, Dataset.open(data).images)
    assert isinstance(tested.generator, CodeGenerator)
    assert isinstance(tested.critic, CodeCritic)
    states = [network.state_dict() for network in (tested.generator, tested.critic, tested.ema)]
    before = [{name: value.clone() for name, value in state.items()} for state in states]
    figures = tested.train_step()
    assert figures["gradient_norm"] > 0
    changed = {
        name for old, new in zip(before, states, strict=True) for name in old if not torch.equal(old[name], new[name])
    }
    assert {"first.weight", "chain.0.weight"} <= changed
    assert not [name for name in changed if name.startswith(("decoder.", "encoder."))]
    z = torch.randn(3, 8)
    tested.generator.eval()
    codes = tested.generator.judged(z)
    assert codes.shape == (3, VALUES, 1, 1)
    torch.testing.assert_close(tested.generator(z), file.read(made[0])[0].decoder(codes))


def test_the_slope_is_bounded_among_codes(made: tuple[Path, str], data: Path) -> None:
    tested = trainer(made, Dataset.open(data).images)
    assert penalty.form_for(tested.critic) == "closed form"
    codes = tested.critic.view(to_input(np.array(Dataset.open(data).images[:4])))
    gradient = penalty.input_gradient(tested.critic, codes)
    assert gradient.shape == (4, VALUES, 1, 1)
    torch.testing.assert_close(gradient, penalty.double_backward(tested.critic, codes))


def test_the_views_kept_are_those_of_the_images(made: tuple[Path, str], data: Path) -> None:
    tested = trainer(made, Dataset.open(data).images, "batch_size=64")
    expected = to_float(torch.from_numpy(tested.reals.draw(3)["real"]))
    tested.train_step()
    assert tested.reals.remembered
    drawn = {name: torch.from_numpy(value) for name, value in tested.reals.draw(3).items()}
    assert 0 < drawn["mirrored"].sum() < 64
    torch.testing.assert_close(tested.reals.views(drawn), tested.critic.view(expected), rtol=2e-3, atol=2e-3)


def test_a_run_goes_on_exactly_and_becomes_a_model(
    made: tuple[Path, str], sharp: Path, lens_file: Path, data: Path, tmp_path: Path, train: Run
) -> None:
    given = [part for value in (*SMALL, f"autoencoder={made[0]}") for part in ("--set", value)]
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
    with animegen.Generator.load(model, device="cpu") as generator:
        images = generator.sample(5, seed=0)
        assert images.shape == (5, 64, 64, 3)
        assert np.array_equal(images[3:], generator.sample(2, seed=3))
        drawn_by = generator.card.autoencoder
    assert drawn_by == {"sha256": sha256(made[0]), **msgspec.to_builtins(file.read(made[0])[1])}
    redrawn = tmp_path / "redrawn.onnx"
    done = train("export", tmp_path / "whole", "--out", redrawn, "--autoencoder", sharp)
    assert done.returncode == 0, done.stderr.decode()
    with animegen.Generator.load(redrawn, device="cpu") as generator:
        assert generator.card.recipe["autoencoder"] == str(sharp)
        assert generator.card.autoencoder["sha256"] == sha256(sharp)
        assert not np.array_equal(generator.sample(5, seed=0), images)
    onwards = ("fit", "--from", model, "--critic", critic, "--preset", "anime-face-64", *given, *LIMITS, "--data", data)
    done = train(*onwards, "--steps", "1", "--out", tmp_path / "onwards")
    assert done.returncode == 0, done.stderr.decode()
    images = Dataset.open(data).images
    again = trainer(made, images)
    start_from_model(model, again)
    with animegen.Generator.load(model, device="cpu") as generator:
        z = torch.from_numpy(latents.from_seeds(range(3), 8))
        apart = np.abs(to_uint8(again.ema(z)).astype(int) - generator.sample(3, seed=0))
    assert apart.max() <= 1
    autoencoder, card = file.read(made[0])
    autoencoder.decoder[2].bias += 1
    file.write(tmp_path / "other.safetensors", autoencoder, card)
    with pytest.raises(CheckpointError, match=r"another autoencoder than .*other\.safetensors"):
        start_from_model(model, trainer((tmp_path / "other.safetensors", ""), images))
    autoencoder.encoder[0].bias += 1
    file.write(tmp_path / "foreign.safetensors", autoencoder, card)
    foreign = (
        "export",
        tmp_path / "whole",
        "--out",
        tmp_path / "f.onnx",
        "--autoencoder",
        tmp_path / "foreign.safetensors",
    )
    assert_error(train(*foreign), 2, "makes other codes than", "python -m train sharpen")
    pixels = load_config("anime-face-64", ["generator.width=4", "generator.blocks=1", "generator.z_dim=8"])
    with pytest.raises(CheckpointError, match="makes codes"):
        start_from_model(model, Trainer(pixels, images, device=torch.device("cpu"), precision="fp32"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["autoencoder=nowhere.safetensors"], "python -m train autoencoder"),
        (["code_values=16"], "code_values=40"),
        (["autoencoder="], "code_values are an autoencoder's"),
        (["generator.norm=none"], "generator.norm"),
        (["critic.norm=instance"], "critic.norm"),
        (["critic.features=some.safetensors"], "critic.features"),
        (["size=32"], "64×64×3"),
        (["channels=1"], "64×64×3"),
        (['augment=["color"]'], "augment"),
    ],
)
def test_what_an_autoencoder_does_not_go_with_is_refused(
    made: tuple[Path, str], data: Path, settings: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        trainer(made, Dataset.open(data).images, *settings)


def test_what_makes_no_autoencoder_is_refused(
    made: tuple[Path, str], sharp: Path, data: Path, lens_file: Path, tmp_path: Path, train: Run
) -> None:
    with pytest.raises(ConfigError, match="holds no autoencoder"):
        trainer((lens_file, ""), Dataset.open(data).images)
    given = ("autoencoder", "--data", data, "--features", lens_file)
    assert_error(train(*given, "--out", tmp_path / "faces.onnx"), 2, "extension '.onnx'", ".safetensors")
    assert_error(train(*given, "--out", tmp_path / "faces.safetensors", "--values", 513), 2, "513 values", "512")
    wrong = ("autoencoder", "--data", data, "--features", made[0], "--out", tmp_path / "faces.safetensors")
    assert_error(train(*wrong), 2, "holds no features")
    sharpened = ("sharpen", made[0], "--features", lens_file, "--out", tmp_path / "faces.safetensors")
    other = tmp_path / "other"
    (tmp_path / "negatives").mkdir()
    for number, image in enumerate(Dataset.open(data).images[:40]):
        pictures.save(255 - image, tmp_path / "negatives" / f"{number}.png")
    prepare(tmp_path / "negatives", other, size=64)
    assert_error(train(*sharpened, "--data", other), 2, "trained on other images", "same ones")
    blended = ("blend", sharp, sharp, "--data", data, "--features", lens_file, "--out", tmp_path / "b.safetensors")
    assert_error(train(*blended), 2, "wasn't sharpened from", "made of")
    blended = ("blend", made[0], sharp, "--data", other, "--features", lens_file, "--out", tmp_path / "b.safetensors")
    assert_error(train(*blended), 2, "trained on other images", "same ones")
    assert_error(train(*blended, "--share", "1"), 2, "--share", "0<x<1")
    small = tmp_path / "small"
    prepare(plain_faces.write(tmp_path)[0], small, size=32)
    done = train("autoencoder", "--data", small, "--features", lens_file, "--out", tmp_path / "a.safetensors")
    assert_error(done, 2, "32×32×3", "64×64×3")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_a_gpu_all_three_learn_as_on_the_cpu(
    made: tuple[Path, str], lens_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "choose_precision", lambda *_: "fp32")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images = np.array(Dataset.open(data).images)
    seen: dict[str, list[list[float]]] = {"trained": [], "tuned": [], "sharpened": []}
    for device in map(torch.device, ("cpu", "cuda")):
        lens, _ = features.read(lens_file)
        autoencoder, _ = file.read(made[0])
        for values in seen.values():
            values.append([])

        def keep(name: str) -> Callable[[int, int, float], None]:
            return lambda *told: seen[name][-1].append(told[2])

        training.fit(images, lens, values=VALUES, bits=500, epochs=1, seed=0, device=device, each=keep("trained"))
        tuning.tune(autoencoder, images, lens, epochs=1, seed=0, device=device, each=keep("tuned"))
        sharp = sharpening.sharpen(autoencoder, images, lens, epochs=1, seed=0, device=device, each=keep("sharpened"))
        assert next(sharp.buffers()).device.type == device.type
    for cpu, gpu in seen.values():
        assert len(cpu) == 12  # three to warm up, then replays
        assert gpu == pytest.approx(cpu, rel=0.05, abs=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_in_codes_a_captured_run_is_the_cpu_s(
    made: tuple[Path, str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    rates = ("critic_optimiser.lr=1e-6", "generator_optimiser.lr=1e-6")
    cpu, gpu = (trainer_on(device, made, Dataset.open(data).images, *rates) for device in ("cpu", "cuda"))
    for _ in range(8):
        expected, found = cpu.train_step(), gpu.train_step()
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)
    z = torch.randn(4, 8)
    torch.testing.assert_close(gpu.ema(z.cuda()).cpu(), cpu.ema(z), rtol=1e-3, atol=1e-3)
