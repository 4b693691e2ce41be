"""Halving and doubling layers as matrix products: torch's results, gradients of any order, and when they are taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from train import convolution, penalty
from train.config import load_config
from train.convolution import Convolution, Pointwise, TransposedConvolution
from train.networks import initial_networks


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a CPU with matrix units, whatever this one is."""
    monkeypatch.setattr(convolution, "_matrix_units", lambda: True)
    with torch.autocast("cpu", torch.bfloat16):
        yield


def _exact(function: type[torch.autograd.Function], *inputs: Tensor) -> Tensor:
    result: Tensor = function.apply(*inputs)
    return result


def _doubles(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_the_product_is_torch_s_convolution() -> None:
    x, weight = _doubles((3, 5, 8, 12), (7, 5, 4, 4))
    own = _exact(convolution._Product, x, weight)
    torch.testing.assert_close(own, torch.nn.functional.conv2d(x, weight, stride=2, padding=1))
    # Known wrong: an image's columns for its rows.
    turned = torch.nn.functional.conv2d(x, weight.transpose(2, 3), stride=2, padding=1)
    assert (own - turned).abs().max() > 1


def test_the_transposed_product_is_torch_s() -> None:
    x, weight = _doubles((3, 7, 4, 6), (7, 5, 4, 4))
    own = _exact(convolution._TransposedProduct, x, weight)
    torch.testing.assert_close(own, torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1))


@pytest.mark.parametrize("function", [convolution._Product, convolution._TransposedProduct])
def test_gradients_of_first_and_second_order(function: type[torch.autograd.Function]) -> None:
    channels = 2 if function is convolution._Product else 3
    x, weight = _doubles((2, channels, 4, 4), (3, 2, 4, 4))
    assert torch.autograd.gradcheck(lambda a, b: _exact(function, a, b), (x, weight))
    assert torch.autograd.gradgradcheck(lambda a, b: _exact(function, a, b), (x, weight))


def _layers(channels: tuple[int, int]) -> tuple[list[nn.Module], list[nn.Module]]:
    torch.manual_seed(1)
    own: list[nn.Module] = [Convolution(*channels, 4, 2, 1), TransposedConvolution(*channels, 4, 2, 1, bias=False)]
    plain: list[nn.Module] = [nn.Conv2d(*channels, 4, 2, 1), nn.ConvTranspose2d(*channels, 4, 2, 1, bias=False)]
    for a, b in zip(own, plain, strict=True):
        b.load_state_dict(a.state_dict())
    return own, plain


def test_a_layer_gives_what_torch_s_gives_in_bf16(products: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for function in (convolution._Product, convolution._TransposedProduct):
        original = function.apply
        monkeypatch.setattr(function, "apply", lambda *given, _do=original: calls.append(1) or _do(*given))
    x = torch.randn(2, 32, 8, 8)
    for own, plain in zip(*_layers((32, 64)), strict=True):
        a, b = own(x), plain(x)
        assert a.dtype == b.dtype == torch.bfloat16
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)  # bf16 keeps 8 bits
        for module in (own, plain):
            module(x).float().square().sum().backward()
        for p, q in zip(own.parameters(), plain.parameters(), strict=True):
            assert p.grad is not None
            assert q.grad is not None
            assert (p.grad - q.grad).norm() < 0.02 * q.grad.norm()
    assert len(calls) >= 4


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("many positions", torch.zeros(64, 4, 32, 32)),
        ("an odd side", torch.zeros(1, 4, 7, 8)),
    ],
)
def test_where_no_product_pays(products: None, what: str, given: Tensor) -> None:
    layer = Convolution(4, 4, 4, 2, 1)
    assert not convolution._pays(layer, given, [side // 2 for side in given.shape[2:]]), what
    assert layer(given).shape == nn.Conv2d(4, 4, 4, 2, 1)(given).shape


def test_other_shapes_and_precisions_are_torch_s(products: None) -> None:
    x = torch.zeros(1, 64, 8, 8)
    assert convolution._pays(Convolution(64, 64, 4, 2, 1), x, (4, 4))
    for layer in (Convolution(64, 64, 5, 2, 2), Convolution(64, 64, 4, 2, 1, groups=2), Convolution(64, 64, 3, 1, 1)):
        assert not convolution._pays(layer, x, (4, 4))
    with torch.autocast("cpu", enabled=False):
        assert not convolution._pays(Convolution(64, 64, 4, 2, 1), x, (4, 4))


def test_the_penalty_s_closed_form_takes_products_too(products: None) -> None:
    """Its gradient is that of torch's layers, as near as bf16 lets it be."""
    config = load_config("wgan-gp-64", ["size=16", "critic.width=32", "critic.kernel=4"])
    _, critic = initial_networks(config)
    assert penalty.form_for(critic) == "closed form"
    x = torch.randn(4, 3, 16, 16)
    found = penalty.closed_form(critic, x).float()
    with torch.autocast("cpu", enabled=False):
        expected = penalty.double_backward(critic, x)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_a_layer_of_one_place_is_torch_s_and_so_is_its_transpose() -> None:
    torch.manual_seed(0)
    own, plain = Pointwise(5, 7, 1), nn.Conv2d(5, 7, 1)
    plain.load_state_dict(own.state_dict())
    x, gradient = torch.randn(3, 5, 1, 1), torch.randn(3, 7, 1, 1)
    torch.testing.assert_close(own(x), plain(x))
    found = convolution.transpose(own, gradient, x.shape[2:])
    torch.testing.assert_close(found, convolution.transpose(plain, gradient, x.shape[2:]))
    # ONNX Runtime's matrix product picks another kernel for another number of rows, its convolution doesn't.
    program = torch.onnx.export(own.eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    assert {node.op_type for node in program.model_proto.graph.node} == {"Conv"}
