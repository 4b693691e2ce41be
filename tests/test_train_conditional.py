"""Training with labels: the networks that take them, what a step draws of them, and that a run learns them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import TINY
from msgspec import structs

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import animegen
from animegen import DataError, labels, latents
from train.config import load_config
from train.data import UNKNOWN, Dataset, DatasetGroup, DatasetLabels
from train.errors import CheckpointError, ConfigError
from train.export.model import export
from train.export.proof import Weights
from train.networks import Critic, GeneratorNetwork, initial_networks
from train.networks.standing import set_standing_statistics
from train.objective.losses import OBJECTIVES, class_loss
from train.run import checkpoint
from train.run.open import Place, resume_run, start_run
from train.run.samples import generated
from train.run.session import Limits
from train.step import draws
from train.step.pixels import to_uint8
from train.step.real_images import RealImages
from train.step.trainer import Trainer

HERE = Place(torch.device("cpu"), "fp32")
SMALL = [*TINY[3::2], "labels=['*']"]
CLASSES = {"colour": ("blue", "green", "red"), "shape": ("disc", "square")}
COUNT = 50  # images of the tiny dataset


def labels_of(values: np.ndarray, names: tuple[str, ...] = ("colour", "shape")) -> DatasetLabels:
    """Labels of these class numbers, with the counts that a card has."""
    groups = []
    for column, name in enumerate(names):
        known = values[values[:, column] != UNKNOWN, column]
        counts = tuple(np.bincount(known, minlength=len(CLASSES[name])).tolist())
        unknown = int((values[:, column] == UNKNOWN).sum())
        groups.append(DatasetGroup(name=name, classes=CLASSES[name], counts=counts, unknown=unknown))
    return DatasetLabels(tuple(groups), values.astype(np.int16))


def some_labels(seed: int = 0) -> DatasetLabels:
    """Labels of the tiny dataset, some of them unknown."""
    rng = np.random.default_rng(seed)
    return labels_of(np.stack([rng.integers(UNKNOWN, len(names), COUNT) for names in CLASSES.values()], axis=1))


def label(data: Path, out: Path, given: DatasetLabels) -> Path:
    """A copy of a packed dataset with these labels."""
    shutil.copytree(data, out)
    given.save(out)
    card = json.loads((out / "dataset.json").read_text())
    groups = [
        {"name": group.name, "classes": group.classes, "counts": group.counts, "unknown": group.unknown}
        for group in given.groups
    ]
    (out / "dataset.json").write_text(json.dumps({**card, "labels": groups, "labels_sha256": given.sha256()}))
    return out


@pytest.fixture(scope="module")
def labelled_data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with labels."""
    return label(tiny_data, tmp_path_factory.mktemp("labelled") / "data", some_labels())


def trainer(data: Path, *settings: str, preset: str = "wgan-gp-64") -> Trainer:
    dataset = Dataset.open(data)
    config = load_config(preset, [*SMALL, *settings])
    return Trainer(config, dataset.images, device=HERE.device, precision="fp32", labels=dataset.labels)


# --- the networks ---


def networks(
    *settings: str, classes: tuple[int, ...] = (3, 2), preset: str = "wgan-gp-64"
) -> tuple[GeneratorNetwork, Critic]:
    return initial_networks(load_config(preset, [*TINY[3::2], "generator.z_dim=32", *settings]), classes)


Y = torch.tensor([[0.0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])  # both known, one, none


@pytest.mark.parametrize("first", ["dense", "convolution"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_generator_takes_latents_and_labels(first: str, norm: str) -> None:
    generator, _ = networks(f"generator.first='{first}'", f"generator.norm='{norm}'")
    assert (generator.z_dim, generator.label_size) == (32, 5)
    z = torch.randn(3, 32)
    images = generator.eval()(z, Y)
    assert images.shape == (3, 3, 16, 16)
    assert not torch.allclose(images, generator(z, Y.flip(0)))
    torch.testing.assert_close(images[1:2], generator(z[1:2], Y[1:2]))


@pytest.mark.parametrize("first", ["dense", "convolution"])
def test_labels_say_as_much_as_the_latent_at_the_start(first: str) -> None:
    generator, _ = networks(f"generator.first='{first}'", "generator.width=64", classes=(10, 12, 7))
    z, y = torch.randn(2000, 32), torch.zeros(2000, 29)
    for start, count in ((0, 10), (10, 12), (22, 7)):
        y[torch.arange(2000), start + torch.randint(count, (2000,))] = 1

    def variance(*inputs: Tensor) -> float:
        x = torch.cat(inputs, 1)
        return float((generator.first(x if first == "dense" else x[:, :, None, None]) ** 2).mean().detach())

    of_latents, of_labels = variance(z, torch.zeros_like(y)), variance(torch.zeros_like(z), y)
    assert of_labels == pytest.approx(of_latents, rel=0.1)


@pytest.mark.parametrize("settings", [[], ["critic.last='convolution'"], ["critic.norm='batch'"]])
def test_a_critic_projects_labels_on_its_features(settings: list[str]) -> None:
    _, critic = networks(*settings)
    assert critic.projection is not None
    x = torch.randn(3, 3, 16, 16)
    critic.eval()
    h, values = critic.features(x), critic(x, Y)
    embedded = Y @ critic.projection.weight.T  # V y
    for k in range(3):  # Miyato & Koyama 2018, equation 3: φ summed over its places
        inner = sum(embedded[k, c] * h[k, c].sum() for c in range(h.shape[1]))
        torch.testing.assert_close(values[k], critic.value(h)[k] + inner)
    torch.testing.assert_close(values[2], critic.value(h)[2])  # an unknown label adds nothing


def test_without_labels_the_networks_are_as_ever() -> None:
    for side, with_labels in zip(networks(classes=()), networks(), strict=True):
        assert not any("projection" in name for name, _ in side.named_parameters())
        assert sum(p.numel() for p in side.parameters()) < sum(p.numel() for p in with_labels.parameters())
    generator, critic = networks(classes=())
    assert critic(generator(torch.randn(3, 32))).shape == (3,)


def test_a_spectral_norm_bounds_the_projection_too() -> None:
    _, critic = networks(preset="sngan-64")
    for _ in range(20):
        critic(torch.randn(3, 3, 16, 16), Y)
    assert isinstance(critic.projection, nn.Linear)
    assert torch.linalg.matrix_norm(critic.projection.weight, 2).item() == pytest.approx(1, abs=0.1)


# --- a classifier in the critic ---

CLASSIFIED = ("class_critic=1.0", "class_generator=0.5")


@pytest.mark.parametrize("norm", ["none", "instance", "batch", "spectral"])
def test_a_critic_scores_classes_beside_the_value(norm: str) -> None:
    _, critic = networks(f"critic.norm={norm}", "labels=['*']", *CLASSIFIED)
    x = torch.randn(3, 3, 16, 16)
    critic.eval()
    values, scores = critic.values_and_scores(x, Y)
    torch.testing.assert_close(values, critic(x, Y))
    assert scores is not None
    assert scores.shape == (3, 5)
    assert scores.std() > 0
    for labels_and_weights in ([], ["labels=['*']"]):
        _, plain = networks(*labels_and_weights)
        assert plain.values_and_scores(x, Y)[1] is None
        assert not any("classifier" in name for name, _ in plain.named_parameters())


def test_the_class_loss_is_a_cross_entropy_of_what_is_known() -> None:
    scores = torch.randn(3, 5, dtype=torch.float64)
    cross_entropy = torch.nn.functional.cross_entropy
    first = cross_entropy(scores[:2, :3], torch.tensor([1, 0]), reduction="sum")
    second = cross_entropy(scores[:1, 3:], torch.tensor([0]), reduction="sum")
    torch.testing.assert_close(class_loss(scores, Y.double(), (3, 2)), (first + second) / 3)
    assert class_loss(scores, torch.zeros(3, 5), (3, 2)) == 0
    scores[:2] = 50 * Y[:2].double()  # sure, and right of all that is known
    assert class_loss(scores, Y.double(), (3, 2)) < 1e-9


@pytest.mark.parametrize("objective", ["wgan-gp", "hinge", "rgan"])
def test_both_networks_learn_classes(labelled_data: Path, objective: str) -> None:
    settings = (
        "critic.norm=none",
        f"objective='{objective}'",
        "critic_optimiser.lr=2e-3",
        "generator_optimiser.lr=2e-3",
    )
    tested = trainer(labelled_data, *settings, "class_critic=2", "class_generator=2", "flip=false")
    losses = [tested.train_step()["class_loss"] for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])

    def agreement() -> float:
        """How often the critic's own classifier finds the colour asked for in generated images."""
        y = torch.eye(3)[torch.arange(96) % 3]
        with torch.no_grad():
            images = tested.generator(torch.randn(96, 8), torch.cat([y, torch.zeros(96, 2)], 1))
            _, scores = tested.critic.values_and_scores(images, torch.zeros(96, 5))
        assert scores is not None
        return float((scores[:, :3].argmax(1) == torch.arange(96) % 3).float().mean())

    assert agreement() > 0.6


def test_a_weight_of_its_own_for_each_side(labelled_data: Path) -> None:
    gradients = {}
    for name, settings in {
        "none": (),
        "critic": ("class_critic=1.0",),
        "both": ("class_critic=1.0", "class_generator=1.0"),
    }.items():
        tested = trainer(labelled_data, *settings)
        tested.generator_step(0)
        gradients[name] = torch.cat([p.grad.flatten() for p in tested.generator.parameters() if p.grad is not None])
        tested.critic_step(0)
        assert (tested.critic.classifier is None) == (name == "none")
        if tested.critic.classifier is not None:
            assert tested.critic.classifier[1].weight.grad.abs().max() > 0
    assert torch.equal(gradients["none"], gradients["critic"])
    assert not torch.allclose(gradients["none"], gradients["both"])


def test_a_clipped_critic_s_classifier_is_not_clipped(labelled_data: Path) -> None:
    tested = trainer(labelled_data, "objective='wgan'", "class_critic=1.0", "clip=0.001")
    tested.train_step()
    sizes = {name: float(p.detach().abs().max()) for name, p in tested.critic.named_parameters()}
    assert sizes.pop("classifier.1.weight") > 0.002
    del sizes["classifier.1.bias"]
    assert max(sizes.values()) == pytest.approx(0.001)


def test_weights_for_classes_need_labels(tiny_data: Path) -> None:
    tested = trainer(tiny_data, "labels=[]", *CLASSIFIED)
    assert tested.critic.classifier is None
    assert "class_loss" not in tested.train_step()


# --- draws ---


def test_a_generator_step_draws_whose_labels_it_asks_for() -> None:
    conditional, plain = load_config("wgan-gp-64", SMALL), load_config("wgan-gp-64", SMALL[:-1])
    drawn = [draws.generator_step(conditional, k, COUNT) for k in range(200)]
    assert drawn[0].keys() == {"z", "label_rows"}
    assert (str(drawn[0]["label_rows"].dtype), drawn[0]["label_rows"].shape) == ("int64", (8,))
    assert set(np.concatenate([arrays["label_rows"] for arrays in drawn])) == set(range(COUNT))
    for k in (0, 7):  # and all else is as without labels
        for step in (draws.critic_step, draws.generator_step):
            old, new = step(plain, k, COUNT), step(conditional, k, COUNT)
            assert new.keys() - old.keys() <= {"label_rows"}
            assert all(np.array_equal(new[name], values) for name, values in old.items())
    relativistic = load_config("ragan-anime64", SMALL)
    assert "label_rows" not in draws.generator_step(relativistic, 0, COUNT)


@pytest.mark.parametrize("resident", [False, True])
def test_images_come_with_the_labels_of_their_rows(resident: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (2**30, 2**30))
    images = np.zeros((COUNT, 16, 16, 3), np.uint8)
    given = some_labels()
    real_images = RealImages(images, 8, HERE.device, resident=resident, labels=given)
    config = load_config("wgan-gp-64", SMALL)
    critic, generator = (step(config, 3, COUNT) for step in (draws.critic_step, draws.generator_step))
    for arrays, rows in ((critic, critic["rows"]), (generator, generator["label_rows"])):
        loaded = real_images.load(arrays)
        assert "label_rows" not in loaded
        np.testing.assert_array_equal(loaded["labels"], given.one_hot(rows))
    assert ("rows" in real_images.load(critic)) == resident


# --- steps ---


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_with_labels(labelled_data: Path, objective: str) -> None:
    more = ["label_noise=0.2"] if objective == "dcgan" else ["gamma=1.0"] if objective.startswith("r") else []
    tested = trainer(labelled_data, f"objective='{objective}'", "generator.norm=none", "augment=['cutout']", *more)
    weights = [p for side in (tested.critic, tested.generator) for p in side.parameters() if p.ndim > 1]
    before = [weight.clone() for weight in weights]
    figures = [tested.train_step() for _ in range(2)][-1]
    assert all(np.isfinite(value) for value in figures.values())
    assert tested.critic.projection is not None
    assert any(weight is tested.critic.projection.weight for weight in weights)
    for old, new in zip(before, weights, strict=True):
        assert not torch.equal(old, new)
        if new is tested.generator.first.weight:
            assert not torch.equal(old[:, -1], new[:, -1])  # a class's


@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
def test_a_penalty_knows_the_label(labelled_data: Path, norm: str) -> None:
    # Both forms; R1 and R2 in one pass, or with BatchNorm in two.
    for objective in ("wgan-gp", "rgan"):
        gamma = "gamma=0.0" if objective == "wgan-gp" else "gamma=10.0"
        tested = trainer(labelled_data, f"critic.norm={norm}", f"objective='{objective}'", gamma)
        assert tested.critic.projection is not None
        one = float(tested.critic_step(0)["penalty"])
        with torch.no_grad():
            tested.critic.projection.weight.mul_(30)
        assert float(tested.critic_step(0)["penalty"]) > 2 * one


@pytest.mark.parametrize("preset", ["wgan-gp-64", "r3gan-64", "rgan-anime64"])
def test_parts_of_a_batch_take_their_own_labels(labelled_data: Path, preset: str) -> None:
    settings = ("generator.norm=none", "critic.norm=none", *CLASSIFIED)
    whole, parts = (trainer(labelled_data, *settings, *more, preset=preset) for more in ([], ["accumulate=4"]))
    for side in ("critic", "generator"):
        gradients = []
        for tested in (whole, parts):
            getattr(tested, f"{side}_step")(0)
            found = [p.grad.flatten() for p in getattr(tested, side).parameters() if p.grad is not None]
            gradients.append(torch.cat(found))
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


# --- which labels a run takes ---


def test_a_run_takes_the_groups_it_names(labelled_data: Path) -> None:
    for setting, groups in (("['*']", ["colour", "shape"]), ("['shape','colour']", ["shape", "colour"]),
                            ("['shape']", ["shape"]), ("[]", [])):  # fmt: skip
        tested = trainer(labelled_data, f"labels={setting}")
        assert [group.name for group in tested.label_groups] == groups
        assert tested.generator.label_size == sum(len(CLASSES[name]) for name in groups)
        tested.train_step()


def test_labels_that_are_not_there(labelled_data: Path, tiny_data: Path) -> None:
    with pytest.raises(DataError, match=r"no labels called hair: it has colour, shape"):
        trainer(labelled_data, "labels=['shape', 'hair']")
    with pytest.raises(DataError, match=r"has no labels and must have shape .* --set labels=\[\]"):
        trainer(tiny_data, "labels=['shape']")
    with pytest.raises(ConfigError, match=r"labels are \*, shape and must be"):
        trainer(labelled_data, "labels=['*', 'shape']")


def test_labels_that_are_not_taken_change_nothing(labelled_data: Path, tiny_data: Path) -> None:
    labelled, plain = (trainer(data, "labels=[]") for data in (labelled_data, tiny_data))
    for _ in range(3):
        assert labelled.train_step() == plain.train_step()


# --- a run ---


def test_a_conditional_run_resumes_bit_equal(labelled_data: Path, tmp_path: Path) -> None:
    config = load_config("anime-pixels-64", [*SMALL, *CLASSIFIED, "steps=4", "augment=['translation']"])
    for name, ends in (("whole", (4,)), ("parts", (1, 4))):
        for end in ends:
            open_run = start_run if end == ends[0] else resume_run
            session = open_run(tmp_path / name, labelled_data, config, place=HERE, limits=Limits(steps=end))
            assert "labels: colour (3 classes, " in "\n".join(session.describe())
            session.fit()
    whole, parts = (load_file(tmp_path / name / checkpoint.NAME) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert {"critic.projection.weight", "critic.classifier.1.weight"} <= whole.keys()
    assert all(torch.equal(whole[name], value) for name, value in parts.items())
    card = checkpoint.read_card(tmp_path / "parts" / checkpoint.NAME)
    assert card.labels == some_labels().groups
    assert card.labels_sha256 == some_labels().sha256()
    generator, _ = checkpoint.load_generator(tmp_path / "parts" / checkpoint.NAME)
    assert generator.label_size == 5


@pytest.fixture(scope="module")
def conditional_run(labelled_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a step, with labels."""
    folder = tmp_path_factory.mktemp("runs") / "conditional"
    start_run(folder, labelled_data, load_config("wgan-gp-64", SMALL), place=HERE, limits=Limits(steps=1)).fit()
    return folder


def test_other_labels_are_refused(conditional_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    given = some_labels()
    renamed = structs.replace(given.groups[1], name="form")
    others = {"values": some_labels(seed=1), "names": DatasetLabels((given.groups[0], renamed), given.values)}
    for name, other in others.items():
        data = label(tiny_data, tmp_path / name, other)
        with pytest.raises(CheckpointError, match=r"labels: colour \(3 classes\), shape \(2 classes\), sha256 .* → "):
            resume_run(conditional_run, data, place=HERE, limits=Limits(steps=2))
    with pytest.raises(CheckpointError, match="→ none"):
        resume_run(conditional_run, tiny_data, place=HERE, limits=Limits(steps=2))


def test_a_start_needs_the_same_labels(
    conditional_run: Path, labelled_data: Path, tiny_data: Path, tmp_path: Path
) -> None:
    def start(name: str, data: Path, setting: str) -> None:
        config = load_config("wgan-gp-64", [*SMALL, setting])
        start_run(tmp_path / name, data, config, place=HERE, limits=Limits(steps=2), start=conditional_run).fit()

    start("run", label(tiny_data, tmp_path / "other", some_labels(seed=1)), "labels=['*']")  # of the same classes
    for setting in ("labels=[]", "labels=['colour']"):
        with pytest.raises(CheckpointError, match="must take those of this run"):
            start("no", labelled_data, setting)


def test_a_seed_s_label_is_the_served_model_s(conditional_run: Path) -> None:
    generator, card = checkpoint.load_generator(conditional_run / checkpoint.NAME)
    groups = [labels.LabelGroup(group.name, group.classes, group.counts, group.unknown) for group in card.labels]
    z, y = latents.from_seeds(range(70), 8), labels.draw_labels(range(70), 8, groups)
    assert 0 < (y[:, :3].sum(1) == 0).mean() < 1  # some colours are unknown, as in training
    with torch.no_grad():
        expected = to_uint8(generator(torch.from_numpy(z), torch.from_numpy(y)))
    shown = np.concatenate(list(generated(generator, 70, card.labels)))
    assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
def test_an_export_takes_the_labels(conditional_run: Path, tmp_path: Path, weights: Weights) -> None:
    path = tmp_path / "model.onnx"
    card = export(conditional_run, path, weights=weights)
    assert card.format_version == 2
    assert [(group.name, group.classes) for group in card.labels] == list(CLASSES.items())
    assert np.shape(card.directions) == (8, 8)
    trained, saved = checkpoint.load_generator(conditional_run / checkpoint.NAME)
    shown = np.concatenate(list(generated(trained, 40, saved.labels)))
    with animegen.Generator.load(path, device="cpu") as generator:
        assert generator.labels == card.labels
        served = generator.sample(40)
        for size in (1, 7, 33):  # a seed's bytes are the same in any batch
            assert (generator.sample(40, batch_size=size) == served).all()
        red = generator.sample(40, labels={"colour": CLASSES["colour"][0]})
        assert (red != served).any()
    # The served one has standing statistics: as in the tests of exports, near is near enough here.
    assert np.abs(shown.astype(int) - served).mean() < 40


def test_the_standing_statistics_are_of_labels_as_in_training(conditional_run: Path) -> None:
    generator, card = checkpoint.load_generator(conditional_run / checkpoint.NAME)
    groups = [labels.LabelGroup(group.name, group.classes, group.counts) for group in card.labels]
    seen = []
    hook = generator.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 8:]))
    set_standing_statistics(generator, seed=0, groups=groups)
    hook.remove()
    shares = torch.cat(seen).mean(0).flatten().numpy()
    counts = np.concatenate([np.array(group.counts) / sum(group.counts) for group in groups])
    np.testing.assert_allclose(shares, counts, atol=0.03)


def test_a_checkpoint_whose_critic_was_a_single_chain_resumes(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    # As commit 86d8b6a named its layers.
    old = shutil.copytree(tiny_run, tmp_path / "old") / checkpoint.NAME
    tensors, card = load_file(old), checkpoint.read_card(old)
    first = len(initial_networks(card.config)[1].features)
    names = {f"critic.value.{k}.": f"critic.{first + k}." for k in range(2)}
    renamed = {}
    for name, value in tensors.items():
        place = name.replace("critic.features.", "critic.")
        for new, before in names.items():
            place = place.replace(new, before)
        renamed[place] = value
    assert f"critic.{first + 1}.weight" in renamed
    save_file(renamed, old, {"animegen": msgspec.json.encode(card).decode()})
    for run in (tmp_path / "old", shutil.copytree(tiny_run, tmp_path / "new")):
        resume_run(run, tiny_data, place=HERE, limits=Limits(steps=8)).fit()
    ends = [load_file(tmp_path / name / checkpoint.NAME) for name in ("old", "new")]
    assert ends[0].keys() == ends[1].keys() == tensors.keys()
    assert all(torch.equal(ends[0][name], value) for name, value in ends[1].items())


def test_a_conditional_run_learns() -> None:
    # 150 steps on discs that are red, or blue, or now and then of an unknown label: colours follow what is asked for.
    rng = np.random.default_rng(0)
    colours = np.array([(40, 60, 220), (220, 60, 40)])
    values = rng.integers(0, 2, 200)
    images = np.full((200, 16, 16, 3), 128, np.uint8)
    y, x = np.mgrid[:16, :16]
    for k in range(200):
        centre = rng.uniform(6, 10, 2)
        images[k][(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 25] = colours[values[k]]
    known = np.where(rng.random(200) < 0.1, UNKNOWN, values)
    given = labels_of(known[:, None], ("shape",))
    settings = ["generator_optimiser.lr=2e-3", "critic_optimiser.lr=2e-3", "generator.width=8"]
    config = load_config("wgan-gp-64", [*SMALL, *settings])
    tested = Trainer(config, images, device=HERE.device, precision="fp32", labels=given)
    for _ in range(150):
        tested.train_step()
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))

    def redness(images: Tensor) -> float:
        return float((images[:, 0] - images[:, 2]).mean())

    wanted = redness(torch.from_numpy(images[values == 1]).permute(0, 3, 1, 2) / 127.5 - 1)
    with torch.no_grad():
        blue, red = (redness(tested.ema(z, torch.eye(2)[k].expand(64, 2))) for k in (0, 1))
    assert red > wanted / 2
    assert blue < -wanted / 2
