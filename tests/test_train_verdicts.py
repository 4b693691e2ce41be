"""Teaching a generator by verdicts on its own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from PIL import Image

from animegen import Generator, catalog
from animegen.errors import DataError
from animegen.files import sha256
from animegen.images import Images
from train.judging import TABLE, read_verdicts
from train.preference import Judge

JUDGED = range(5000, 5400)
OTHERS = range(64)
HEADER = "seed\tverdict\n"


def brightness(images: Images) -> np.ndarray:
    return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def shipped() -> Path:
    return catalog.find("anime-face-64")


@pytest.fixture(scope="module")
def middle(shipped: Path) -> float:
    """The brightness that half of the judged images have at least."""
    with Generator.load(shipped, device="cpu") as generator:
        return float(np.median(brightness(generator.sample(seeds=JUDGED))))


@pytest.fixture(scope="module")
def table(shipped: Path, middle: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verdicts of somebody who likes bright images."""
    with Generator.load(shipped, device="cpu") as generator:
        bright = brightness(generator.sample(seeds=JUDGED)) >= middle
    path = tmp_path_factory.mktemp("verdicts") / "bright.tsv"
    lines = (f"{seed}\t{'yes' if good else 'no'}\n" for seed, good in zip(JUDGED, bright, strict=True))
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


def test_a_generator_learns_what_is_liked(
    shipped: Path, middle: float, table: Path, train: Run, tmp_path: Path
) -> None:
    out = tmp_path / "bright.onnx"
    done = train("prefer", shipped, "--verdicts", table, "--out", out, "--log-odds", "3", "--provenance", "Drawn.")
    assert done.returncode == 0, done.stderr.decode()
    assert b"of 400 verdicts 50.0% are yes" in done.stderr
    with Generator.load(shipped, device="cpu") as before, Generator.load(out, device="cpu") as after:
        old, new = before.sample(seeds=OTHERS), after.sample(seeds=OTHERS)
        card, start = after.card, before.card
    # Seeds that nobody judged become bright, and each keeps its face.
    assert (brightness(old) >= middle).mean() < 0.75
    assert (brightness(new) >= middle).mean() > 0.9
    own = np.abs(new.astype(int) - old).mean()
    assert own < 0.5 * np.abs(new.astype(int) - np.roll(old, 1, 0)).mean()
    already = brightness(old) > np.quantile(brightness(old), 0.9)
    assert np.abs(new.astype(int) - old)[already].mean() < own  # what was liked is left alone
    taught = card.judged[-1]
    assert len(card.judged) == len(start.judged) + 1
    assert (taught["verdicts"], taught["yes"], taught["log_odds"]) == (400, 0.5, 3.0)
    assert (taught["verdicts_sha256"], taught["model_sha256"]) == (sha256(table), sha256(shipped))
    assert taught["auc"] > 0.9
    assert 0 <= taught["left"] < taught["moved"] ** 2
    assert (card.name, card.provenance, card.quality) == ("bright", "Drawn.", {})
    assert (card.recipe, card.images_seen, card.licence) == (start.recipe, start.images_seen, start.licence)
    assert card.parity["weights"] == start.parity["weights"]
    assert card.parity["max_grey_levels"] <= 1
    assert card.directions != start.directions


def test_sheets_name_their_images_by_seed(shipped: Path, train: Run, tmp_path: Path) -> None:
    out = tmp_path / "sheets"
    done = train("sheets", shipped, "--seed", "70", "--n", "26", "--out", out)
    assert done.returncode == 0, done.stderr.decode()
    assert b"26 images on 2 sheets" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["0000000070.png", "0000000094.png", TABLE]
    with Image.open(out / "0000000070.png") as sheet, Generator.load(shipped, device="cpu") as generator:
        corner = np.asarray(sheet.convert("RGB").crop((0, 0, 192, 192)).resize((64, 64), Image.Resampling.BOX))
        assert np.abs(corner.astype(int) - generator.sample(seed=70)[0]).mean() < 4
    rows = (out / TABLE).read_text(encoding="utf-8").splitlines()
    assert rows == ["seed\tverdict", *(f"{seed}\t" for seed in range(70, 96))]
    assert len(read_verdicts(out / TABLE).seeds) == 0
    assert_error(train("sheets", shipped, "--out", out), 1, "already exists")


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.sampled_from(["yes", "no", ""]), max_size=20))
@settings(deadline=None)
def test_a_table_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, said: dict[int, str]) -> None:
    path = tmp_path_factory.mktemp("table") / TABLE
    path.write_text(HEADER + "".join(f"{seed}\t{word}\n" for seed, word in said.items()), encoding="utf-8")
    found = read_verdicts(path)
    told = {seed: word == "yes" for seed, word in said.items() if word}
    assert dict(zip(found.seeds.tolist(), found.good.tolist(), strict=True)) == told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "doesn't begin with"),
        ("1\tyes\n", "doesn't begin with"),
        (HEADER + "1 yes\n", "'1 yes' in line 2"),
        (HEADER + "1\tyes\n2\tmaybe\n", "in line 3"),
        (HEADER + "-1\tyes\n", "in line 2"),
        (HEADER + "²\tyes\n", "in line 2"),
        (HEADER + "4294967296\tyes\n", "in line 2"),
        (HEADER + "9" * 30 + "\tyes\n", "in line 2"),
        (HEADER + "1\tyes\n1\tno\n", "the seed 1 a second time in line 3"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / TABLE
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        read_verdicts(path)
    assert str(path) in str(caught.value)


@given(st.integers(0, 2**32 - 1), st.floats(-5, 8))
@settings(deadline=None)
def test_codes_are_moved_just_far_enough(seed: int, least: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    mean, deviation, weights = torch.randn(3, 6, generator=draw)
    judge = Judge(mean, deviation.abs() + 0.1, weights + weights.sign(), torch.randn((), generator=draw))
    codes = torch.randn(9, 6, generator=draw)
    moved = judge.moved(codes, least)
    odds = judge.odds(codes)
    torch.testing.assert_close(judge.odds(moved), odds.clamp(min=least), rtol=1e-3, atol=1e-3)
    assert torch.equal(moved[odds >= least], codes[odds >= least])


def test_what_cannot_be_learnt_from(shipped: Path, table: Path, train: Run, tmp_path: Path) -> None:
    few = tmp_path / "few.tsv"
    few.write_text(HEADER + "".join(f"{seed}\tyes\n" for seed in range(50)), encoding="utf-8")
    out = tmp_path / "better.onnx"
    assert_error(train("prefer", shipped, "--verdicts", few, "--out", out), 1, "few.tsv has 0 verdicts of one kind")
    pixels = catalog.find("anime-pixels-64")
    assert_error(train("prefer", pixels, "--verdicts", table, "--out", out), 2, "makes pixels, not codes")
    assert_error(train("prefer", few, "--verdicts", table, "--out", out), 1, "python -m train export")
    assert_error(train("prefer", shipped, "--verdicts", table, "--out", tmp_path / "better"), 2, "ends in .onnx")
    assert_error(train("prefer", shipped, "--verdicts", table, "--out", out, "--data", few), 2, "add --reference")
    assert not out.exists()
