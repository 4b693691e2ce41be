"""Teaching a generator of codes what people call well-formed, by their verdicts on its own images.

A critic of codes can't tell the ill-formed images from the others: among codes they are as likely as any. But who sees
them tells them apart, and what he says is nearly linear in the code: a logistic regression on some thousand verdicts
finds the direction. Along it, and along nothing else, the codes of doubtful images are moved, just far enough, and the
generator is taught to make the moved ones. So every seed keeps its face. What is new in the moved images can be judged
again.

Directions in a latent space that a linear classifier finds: Shen et al. 2020 (InterFaceGAN, arXiv 1907.10786), who
mend artefacts of single images so. Learning from verdicts on what a model itself made:
Christiano et al. 2017 (arXiv 1706.03741).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from animegen import latents
from animegen.card import ModelCard
from animegen.errors import DataError
from animegen.files import check_parent, sha256
from train.capture import set_rate
from train.checkpoint import code_revision
from train.codes import CodeGenerator
from train.errors import ConfigError
from train.export import TOLERANCE, Weights, build, directions, measured, prove, write
from train.judging import Verdicts, read_verdicts
from train.referee import Referee
from train.unfold import read_model, unfolded

_FEWEST = 20  # verdicts of each kind
_RIDGE = 0.005  # of the squared weights, codes being of deviation 1: a prior against large ones
_PARTS = 8  # of the verdicts in their order; each is told from what the others say
_SCALE = 4096  # latents that say how codes vary
_PART = 512
_STILL = 1e-4  # the least deviation of a value: one that never varies tells nothing
_STEPS, _BATCH_SIZE, _RATE = 1200, 128, 2e-4
_STREAM_SCALE, _STREAM_STEPS = 31, 32


@dataclass(frozen=True)
class Judge:
    """What verdicts say of a code: the log odds of a yes, linear in it.

    Attributes:
        mean, deviation: of each value of the generator's codes, [values].
        weights: of the values of such whitened codes, [values].
        bias: the log odds of the mean code.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    bias: Tensor

    def odds(self, codes: Tensor) -> Tensor:
        """The log odds [N] of codes [N, values]."""
        return (codes - self.mean) / self.deviation @ self.weights + self.bias

    def moved(self, codes: Tensor, least: float) -> Tensor:
        """The nearest codes, in deviations, with log odds of at least `least`."""
        missing = F.relu(least - self.odds(codes))[:, None]
        return codes + missing * self.weights / self.weights.square().sum() * self.deviation


def prefer(
    model: Path,
    table: Path,
    out: Path,
    *,
    log_odds: float,
    name: str | None = None,
    provenance: str | None = None,
    referee: Referee | None = None,
    data: Path | None = None,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> ModelCard:
    """Teach the generator in the file `model` by the verdicts in `table`, write it to `out`, and return its new card.

    The verdicts are of that very generator's images; `log_odds` of a yes is what each code is brought to. With a
    referee the card holds the new graph's figures, as with `export`; `each` is told the step, of how many, and the mean
    square of what is still to be learnt, in deviations.

    Raises:
        CheckpointError: no model that this project exported.
        ConfigError: `out` is no .onnx, or the generator makes pixels.
        DataError: a table that can't be read, too few verdicts of a kind, or what `export` raises it for.
        ExportError: as with `export`; nothing is written.
        OutputError: `out` can't be written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out} has the extension {out.suffix!r}: a model file ends in .onnx")
    check_parent(out)
    code = code_revision()  # read now: the checkout may move on
    graph, card, config = read_model(model)
    if referee is not None:
        referee.check_size(config.size)
    verdicts = read_verdicts(table)
    few = min(int(verdicts.good.sum()), int((~verdicts.good).sum()))
    if few < _FEWEST:
        raise DataError(f"{table} has {few} verdicts of one kind: judge images until yes and no are {_FEWEST} each")
    generator = unfolded(graph, config).eval()
    if not isinstance(generator, CodeGenerator):
        raise ConfigError(f"{model} makes pixels, not codes: verdicts can teach a generator with an autoencoder alone")
    codes = _codes_of(generator, verdicts.seeds)
    judge, apart = _learn(generator, codes, verdicts, config.seed)
    moved = ((judge.moved(codes, log_odds) - codes) / judge.deviation).norm(dim=1).mean().item()
    left = _teach(generator, judge, log_odds, config.seed, each)
    weights: Weights = "fp16" if card.parity.get("weights") == "fp16" else "fp32"
    graph = build(generator, weights)
    taught = {
        "verdicts": len(verdicts.seeds),
        "yes": round(float(verdicts.good.mean()), 4),
        "verdicts_sha256": sha256(table),
        "model_sha256": sha256(model),
        "auc": round(apart, 4),
        "log_odds": log_odds,
        "moved": round(moved, 3),
        "left": round(left, 4),
        "code_revision": code,
    }
    card = replace(
        card,
        name=name or out.stem,
        provenance=provenance or card.provenance,
        parity={"weights": weights, **prove(graph, generator, TOLERANCE[weights])},
        quality={},
        judged=(*card.judged, taught),
        directions=directions(generator),
    )
    if referee is not None:
        card = replace(card, quality=measured(graph, card, referee, data))
    write(graph, card, out)
    return card


@torch.no_grad()
def _codes_of(generator: CodeGenerator, seeds: NDArray[np.int64]) -> Tensor:
    """The codes [N, values] of the images of these seeds."""
    parts = [seeds[first : first + _PART] for first in range(0, len(seeds), _PART)]
    made = [generator.judged(torch.from_numpy(latents.from_seeds(part.tolist(), generator.z_dim))) for part in parts]
    return torch.cat(made).flatten(1)


def _learn(generator: CodeGenerator, codes: Tensor, verdicts: Verdicts, seed: int) -> tuple[Judge, float]:
    """The judge of these codes, and the AUC with which it tells those that it didn't learn of."""
    with torch.no_grad():
        drawn = generator.judged(next(_latents(generator, _SCALE, seed, _STREAM_SCALE))).flatten(1)
    mean, deviation = drawn.mean(0), drawn.std(0).clamp(min=_STILL)
    x, good = ((codes - mean) / deviation).double(), torch.from_numpy(verdicts.good)
    odds = torch.zeros(len(x), dtype=torch.float64)
    part = torch.arange(len(x)) * _PARTS // len(x)
    for k in range(_PARTS):
        own = part == k
        weights, bias = _regression(x[~own], good[~own])
        odds[own] = x[own] @ weights + bias
    weights, bias = _regression(x, good)
    return Judge(mean, deviation, weights.float(), bias.float()), _auc(odds, good)


def _regression(x: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and bias of the logistic regression with a ridge, by Newton's method."""
    wide = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    ridge = torch.full((wide.shape[1],), 2 * _RIDGE * len(x), dtype=x.dtype)
    ridge[-1] = 1e-6  # the bias is free
    found = torch.zeros(wide.shape[1], dtype=x.dtype)
    for _ in range(30):
        chance = torch.sigmoid(wide @ found)
        gradient = wide.T @ (chance - good.to(x.dtype)) + ridge * found
        curvature = wide.T @ (wide * (chance * (1 - chance))[:, None]) + torch.diag(ridge)
        found = found - torch.linalg.solve(curvature, gradient)
    return found[:-1], found[-1]


def _auc(odds: Tensor, good: Tensor) -> float:
    """How often a good one has the higher odds than another one."""
    yes, no = odds[good], odds[~good].sort().values
    return torch.searchsorted(no, yes).double().mean().item() / len(no)


def _teach(
    generator: CodeGenerator, judge: Judge, log_odds: float, seed: int, each: Callable[[int, int, float], None]
) -> float:
    """Train the generator, its norms standing, to make moved codes; returns the last steps' mean square distance."""
    teacher = copy.deepcopy(generator).requires_grad_(False)
    optimiser = torch.optim.Adam(generator.parameters(), _RATE)  # the decoder's values are buffers
    recent: list[float] = []
    for step, z in zip(range(_STEPS), _latents(generator, _BATCH_SIZE, seed, _STREAM_STEPS), strict=False):
        set_rate(optimiser, _RATE * (1 - step / _STEPS))
        wanted = judge.moved(teacher.judged(z).flatten(1), log_odds)
        loss = ((generator.judged(z).flatten(1) - wanted) / judge.deviation).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        recent = [*recent[-49:], loss.item()]
        each(step + 1, _STEPS, recent[-1])
    generator.requires_grad_(False)
    return float(np.mean(recent))


def _latents(generator: CodeGenerator, count: int, seed: int, stream: int) -> Iterator[Tensor]:
    rng = np.random.default_rng([seed, stream])
    while True:
        yield torch.from_numpy(rng.standard_normal((count, generator.z_dim), np.float32))
