"""torch-fidelity, an independent tool, scores a shipped .onnx, and agrees. It runs where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_fidelity")

import torch
import torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.generative_model_onnx import GenerativeModelONNX

from animegen import Extractor, Generator, find_model
from animegen.quality.distances import frechet_distance
from animegen.quality.statistics import Statistics

COUNT = 64


class Anime(FeatureExtractorBase):  # type: ignore[misc]
    """The shipped extractor behind torch-fidelity's interface; its own Inception would be a download."""

    seen: list[np.ndarray] = []  # noqa: RUF012 (torch-fidelity makes the instance itself)

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.extractor = Extractor.load("anime", device="cpu")

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features",)

    @staticmethod
    def get_default_feature_layer_for_metric(_metric: str) -> str:
        return "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert images.dtype == torch.uint8
        array = images.numpy().transpose(0, 2, 3, 1)
        self.seen.append(array)
        return (torch.from_numpy(self.extractor(array)).double(),)


class Drawn(torch.utils.data.Dataset[torch.Tensor]):
    """Images that our own runtime makes."""

    def __init__(self) -> None:
        with Generator.load(device="cpu") as generator:
            self.images = torch.from_numpy(generator.sample(COUNT).transpose(0, 3, 1, 2))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.images[row]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch-fidelity's own
def test_it_scores_the_shipped_model_as_we_do(anime: Extractor) -> None:
    torch_fidelity.register_feature_extractor("anime", Anime)
    model = GenerativeModelONNX(str(find_model("anime-face-64")), 128, "normal", 0)
    metrics = torch_fidelity.calculate_metrics(
        input1=model,
        input1_model_num_samples=COUNT,
        input2=Drawn(),
        feature_extractor="anime",
        fid=True,
        kid=True,
        kid_subsets=4,
        kid_subset_size=32,
        batch_size=64,
        cuda=False,
        cache=False,
        verbose=False,
        rng_seed=3,
    )
    drawn = np.concatenate(Anime.seen)
    assert len(drawn) == 2 * COUNT
    # Ours, of the very images that it saw.
    sides = [Statistics.of([anime(part)]) for part in (drawn[:COUNT], drawn[COUNT:])]
    # Fewer images than features: its eigenvalues of an unsymmetric, singular product carry rounding errors.
    assert metrics["frechet_inception_distance"] == pytest.approx(frechet_distance(*sides), rel=1e-3)
    # Both are draws of one generator: nearer to one another than as many of another one.
    with Generator.load("anime-pixels-64", device="cpu") as other:
        others = Statistics.of([anime(other.sample(COUNT))])
    assert frechet_distance(*sides) < frechet_distance(others, sides[0])
