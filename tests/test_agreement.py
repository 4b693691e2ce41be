"""How often a tagger agrees with labels: those that were asked for, and those of real pictures."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GROUPS, ROOT, Run, run
from extractor_models import TAGS

from animegen import DataError, Extractor, Generator, evaluate, open_images
from animegen.images.sets import label_hash, pixel_hash
from animegen.labels import draw_classes
from animegen.quality.agreement import agreements, within
from animegen.quality.distances import frechet_distance
from animegen.quality.statistics import Statistics
from animegen.seeds import Seeds


def dataset(path: Path, **changes: Any) -> Path:
    """60 real images of 8×8 pixels, each of one colour, with labels that are right for half of them."""
    path.mkdir()
    colours = np.arange(60) % 3  # red, green, blue
    images = np.full((60, 8, 8, 3), 20, np.uint8)
    images[np.arange(60), :, :, colours] = 200
    images[:, 0, 0] = np.arange(60)[:, None]  # no two are alike
    # Classes blue 0 and red 1; the first ten are unknown, every other one is wrong.
    values = np.where(colours == 2, 0, 1)
    values[::2] = 1 - values[::2]
    values[:10] = -1
    numbers = values[:, None].astype(np.int16)
    card = {
        "format": 1, "count": 60, "size": 8, "channels": 3, "resize": "none", "sha256": pixel_hash(images),
        "labels": [{"name": "hair", "classes": ["blue", "red"], "counts": [0, 0], "unknown": 10, "filled": 4}],
        "labels_sha256": label_hash(numbers),
        **changes,
    }  # fmt: skip
    np.save(path / "images.npy", images)
    np.save(path / "labels.npy", numbers)
    (path / "dataset.json").write_text(json.dumps(card))
    return path


def test_the_share_of_images_whose_tag_is_their_label(
    conditional_model: Path, tiny_extractor: Extractor, tmp_path: Path
) -> None:
    real = open_images(dataset(tmp_path / "data"))
    with Generator.load(conditional_model, device="cpu") as generator:
        seeds = Seeds.starting(5, 300)
        (hair,) = agreements(generator, tiny_extractor, seeds, real)  # the tagger has other eyes
        images = generator.sample(300, seed=5)
    asked = np.array(GROUPS[0].classes)[draw_classes(seeds, 8, GROUPS)[:, 0]]
    hairs = [tag.partition(":")[2] for tag in TAGS if tag.startswith("hair:")]
    seen = np.array(hairs)[tiny_extractor.tag(images)[:, : len(hairs)].argmax(1)]
    known = asked != "blonde"
    assert (hair.group, hair.images) == ("hair", known.sum())
    assert hair.generated == pytest.approx((seen == asked)[known].mean())
    assert (hair.real_images, hair.filled) == (50, 4)
    right = (np.arange(60) % 2 == 1) & (np.arange(60) % 3 != 1)  # a green one is neither
    assert hair.real == pytest.approx(right[10:].mean())
    group = {"name": "hair", "classes": ["golden", "silver"], "counts": [0, 0], "unknown": 10, "filled": 0}
    others = open_images(dataset(tmp_path / "others", labels=[group]))  # of classes that the tagger doesn't know
    with Generator.load(conditional_model, device="cpu") as generator:
        (hair,) = agreements(generator, tiny_extractor, seeds, others)
    assert (hair.real, hair.real_images) == (None, 0)


def test_what_cannot_agree_is_left_out(
    conditional_model: Path, tiny_model: Path, tiny_extractor: Extractor, tmp_path: Path
) -> None:
    seeds = Seeds.starting(0, 20)
    with Generator.load(tiny_model, device="cpu") as plain:
        assert agreements(plain, tiny_extractor, seeds) == ()
    with Generator.load(conditional_model, device="cpu") as generator:
        (hair,) = agreements(generator, tiny_extractor, seeds)
        assert hair.real is None
        other = dataset(tmp_path / "other", labels=[{"name": "hat", "classes": ["blue", "red"]}])
        assert agreements(generator, tiny_extractor, seeds, open_images(other)) == (hair,)
        unlabelled = replace(open_images(other), labels=None)
        assert agreements(generator, tiny_extractor, seeds, unlabelled) == (hair,)


@pytest.mark.parametrize(
    "labels",
    [
        [{"name": "hair", "classes": ["blue"]}],
        [{"name": "hair", "classes": ["blue", "red"]}, {"name": "eyes", "classes": ["blue", "red"]}],
        [{"name": "hair"}],
        ["hair"],
    ],
)
def test_labels_that_do_not_fit_their_images(labels: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is damaged: .*label.*; prepare it again"):
        open_images(dataset(tmp_path / "data", labels=labels))


def test_labels_that_are_not_those_of_the_card(tmp_path: Path) -> None:
    path = dataset(tmp_path / "data")
    np.save(path / "labels.npy", np.load(path / "labels.npy")[::-1])
    with pytest.raises(DataError, match=r"labels\.npy isn't what dataset\.json has the sha256 of; prepare it again"):
        open_images(path)


def test_evaluate_says_it(
    conditional_model: Path, tiny_extractor_file: Path, tiny_extractor: Extractor, animegen: Run, tmp_path: Path
) -> None:
    data = dataset(tmp_path / "data")
    with Generator.load(conditional_model, device="cpu") as generator:
        evaluation = evaluate(generator, data, extractor=tiny_extractor, data=data, n=100)
    (hair,) = evaluation.agreements
    figures = evaluation.figures()
    assert figures["agreement_hair"] == pytest.approx(hair.generated, rel=1e-3)
    assert figures["agreement_hair_of_real_images"] == pytest.approx(hair.real, rel=1e-3)
    assert f"| hair as asked for | {hair.generated:.3f} | {hair.images} images, by tags |" in evaluation.to_markdown()
    assert figures["fid_within_hair"] == pytest.approx(evaluation.within[0].fid, rel=1e-3)
    assert "| FID within hair | " in evaluation.to_markdown()
    assert "50 images, 4 of all named by an extractor" in evaluation.to_markdown()
    agreement, distance = evaluation.untold
    assert agreement.startswith("how often eyes is as asked for is not told")
    assert distance == "there is no FID within eyes: the training images have no such labels"
    assert f"- {evaluation.untold[0]}" in evaluation.to_markdown()
    done = animegen("evaluate", "--model", conditional_model, "--device", "cpu", "--n", "100", "--reference", data,
                    "--extractor", tiny_extractor_file, "--data", data, "--out", "report", "--json")  # fmt: skip
    assert json.loads(done.stdout)["agreements"][0]["generated"] == hair.generated


def test_the_distance_within_a_class(conditional_model: Path, tiny_extractor: Extractor, tmp_path: Path) -> None:
    real = open_images(dataset(tmp_path / "data"))
    assert real.labels is not None
    features = np.concatenate([tiny_extractor(batch) for batch in real.read()])
    with Generator.load(conditional_model, device="cpu") as generator:
        seeds = range(7, 107)
        own = tiny_extractor(generator.sample(seeds=seeds))
        (hair,) = within(generator, seeds, own, real, features)
        assert within(generator, seeds, own, replace(real, labels=None), features) == ()
        assert within(generator, range(7), own[:7], real, features) == ()  # too few for any class
    drawn = draw_classes(seeds, 8, GROUPS)[:, 0]
    expected = {
        name: frechet_distance(
            Statistics.of([own[drawn == k]]), Statistics.of([features[real.labels.values[:, 0] == j]])
        )
        for name, k, j in (("blue", 1, 0), ("red", 2, 1))
    }
    assert hair.classes == pytest.approx(expected)  # nobody's hair is blonde in the dataset
    assert hair.fid == pytest.approx(np.mean(list(expected.values())))
    assert hair.images == min((drawn == 1).sum(), (drawn == 2).sum(), 25)


@pytest.mark.parametrize("rule", ["linear", "network"])
def test_the_benchmark_sorts_by_a_rule_of_real_pictures(
    rule: str, conditional_model: Path, tiny_extractor_file: Path, tmp_path: Path
) -> None:
    if rule == "network":
        pytest.importorskip("torch")
    data = dataset(tmp_path / "data")
    options = ("--model", conditional_model, "--data", data, "--extractor", tiny_extractor_file, "--held", "20")
    script = ROOT / "benchmarks" / "labels.py"
    done = run(sys.executable, script, *options, "--group", "hair", "--each", "8", "--rule", rule)
    assert done.returncode == 0, done.stderr.decode()
    rows = [line.strip("| ").split(" | ") for line in done.stdout.decode().splitlines()[3:]]
    assert [row[0] for row in rows] == ["blonde", "blue", "red", "all"]
    shares = [float(row[2].partition("%")[0]) for row in rows]
    assert shares[3] == pytest.approx(sum(shares[:3]) / 3, abs=0.1)
    assert rows[3][1].endswith("% of 20")
    other = run(sys.executable, script, *options, "--group", "eyes")
    assert b"the pictures have no labels of the group eyes: prepare them with labels" in other.stderr
