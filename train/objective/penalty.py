"""The gradient penalty of Gulrajani et al. 2017 (equation 3): λ·E[(‖∇D(x̂)‖₂ − 1)²], in two equal forms.

The reference differentiates twice. The closed form needs only first-order autograd: for a chain of
convolutions, linear layers and piecewise-linear activations, ∇D(x̂) is itself a chain — the transposed layers
from the last to the first, with each activation's slope, 1 or `negative_slope`, in between. The slopes are
constant almost everywhere, so ordinary autograd through that chain gives the penalty's exact weight gradients. A
residual block is two such chains side by side, of which one is the identity.

A critic's head is linear in its features h, with labels too: the gradient of D(x, y) = value(h) + Σ_c (V y)_c · Σ h_c
by h is that of `value`, and (V y)_c more at every place of channel c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.networks.critic import Critic
from train.networks.layers import Residual

Form = Literal["closed form", "double backward"]


def interpolates(x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor:
    """x̂ = ε·x + (1−ε)·x̃ with one ε an image: [N] against [N, C, H, W] (Algorithm 1, line 6)."""
    return torch.lerp(x_fake, x_real, epsilon.to(x_real).view(-1, 1, 1, 1))


def gradient_penalty(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """E[(‖∇‖₂ − 1)²] and E[‖∇‖₂] for gradients [N, …]; the norm is over all of an image's values, in fp32."""
    norms = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
    return ((norms - 1) ** 2).mean(), norms.detach().mean()


def zero_centred_penalty(gradient: Tensor) -> Tensor:
    """E[‖∇D‖²] for gradients [N, C, H, W]: Mescheder et al. 2018 (arXiv 1801.04406), equation 9, without its γ/2.

    On real images it is R1, on generated ones R2.
    """
    return (gradient.float().flatten(1) ** 2).sum(1).mean()


def form_for(critic: Critic) -> Form:
    """Which form `input_gradient` uses for this critic."""
    head = [*critic.value, *([] if critic.projection is None else [critic.projection])]
    return "closed form" if all(_can_reverse(layer) for layer in (*critic.features, *head)) else "double backward"


def input_gradient(critic: Critic, x: Tensor, labels: Tensor | None = None) -> Tensor:
    """∇ₓ ΣD(x, y): the shape of `x`, differentiable by the critic's weights, by the form that `form_for` names."""
    if form_for(critic) == "closed form":
        return closed_form(critic, x, labels)
    return double_backward(critic, x, labels)


def double_backward(critic: Critic, x: Tensor, labels: Tensor | None = None) -> Tensor:
    """The reference: autograd's gradient, kept differentiable."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x, labels).sum(), x, create_graph=True)
    # A compiled critic of some torch versions loses the second graph, and the penalty trains nothing.
    if not gradient.requires_grad:
        raise RuntimeError("the critic's input gradient can't be differentiated again: is the critic compiled?")
    return gradient


def closed_form(critic: Critic, x: Tensor, labels: Tensor | None = None) -> Tensor:
    """The same gradient from the transposed chain; needs a critic for which `form_for` says "closed form"."""
    with torch.no_grad():
        h, to_images = _chain(critic.features, x)
        values, to_features = _chain(critic.value, h)
        ones = torch.ones_like(values)
    gradient = to_features(ones)
    if critic.projection is not None:
        assert labels is not None
        gradient = gradient + critic.projection(labels)[:, :, None, None]
    return to_images(gradient)


Backwards = Callable[[Tensor], Tensor]


def _can_reverse(layer: nn.Module) -> bool:
    # A spectral norm makes a layer a class of its own, whose weight is no constant.
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, Residual):
        return all(_can_reverse(inner) for inner in (*layer.body, layer.activation))
    return type(layer) in (nn.Linear, nn.LeakyReLU, nn.ReLU, nn.Flatten, nn.Identity)


def _chain(layers: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Backwards]:
    """What the layers make of x, one after the other, and the transpose of all of them there."""
    steps: list[Backwards] = []
    for layer in layers:
        x, step = _forwards(layer, x)
        steps.append(step)

    def backwards(gradient: Tensor) -> Tensor:
        for step in reversed(steps):
            gradient = step(gradient)
        return gradient

    return x, backwards


def _forwards(layer: nn.Module, x: Tensor) -> tuple[Tensor, Backwards]:
    """What the layer makes of x, and its transpose there."""
    if isinstance(layer, Residual):
        change, through_body = _chain(layer.body, x)
        y, through_activation = _forwards(layer.activation, x + change)

        def through_both(gradient: Tensor) -> Tensor:
            gradient = through_activation(gradient)
            return gradient + through_body(gradient)

        return y, through_both
    return layer(x), _transpose(layer, x)


def _transpose(layer: nn.Module, before: Tensor) -> Backwards:
    """The transpose of a single layer at its input `before`."""
    if isinstance(layer, nn.Conv2d):
        return lambda g: _transposed(layer, g, before.shape[2:])
    if isinstance(layer, nn.Linear):
        return lambda g: g @ layer.weight
    if isinstance(layer, nn.LeakyReLU | nn.ReLU):
        slope = layer.negative_slope if isinstance(layer, nn.LeakyReLU) else 0.0
        slopes = torch.full_like(before, slope).masked_fill_(before > 0, 1)
        return lambda g: g * slopes
    if isinstance(layer, nn.Identity):
        return lambda g: g
    shape = before.shape
    return lambda g: g.view(shape)


def _transposed(layer: nn.Conv2d, gradient: Tensor, size: torch.Size) -> Tensor:
    """The convolution's transpose, without its bias: [N, O, h, w] → [N, C, *size], differentiable by its weights."""
    assert not isinstance(layer.padding, str)
    # Where the stride doesn't divide the input, several sizes give one output: say which it was.
    missing = [
        size[i]
        - ((gradient.shape[2 + i] - 1) * layer.stride[i] - 2 * layer.padding[i])
        - (layer.dilation[i] * (layer.kernel_size[i] - 1) + 1)
        for i in (0, 1)
    ]
    return F.conv_transpose2d(
        gradient, layer.weight, None, layer.stride, layer.padding, missing, layer.groups, layer.dilation
    )
