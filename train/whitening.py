"""The linear map after which every direction of what was measured varies alike."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_root(covariance: Tensor, ridge: float) -> Tensor:
    """C^(−1/2), symmetric, after `ridge` is added to the diagonal."""
    values, vectors = torch.linalg.eigh(covariance + ridge * torch.eye(len(covariance)))
    root: Tensor = (vectors * values.rsqrt()) @ vectors.T
    return root
