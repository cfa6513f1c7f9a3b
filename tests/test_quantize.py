"""Quantisation: folding and equalising keep the function, ranges hold what they must, depthwise networks survive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jerboa import models
from jerboa.errors import JerboaError
from jerboa.graph.execute import trace as run_layers
from jerboa.importers.from_torch import import_program
from jerboa.training import quantize as quantize_module
from jerboa.training.fold import equalize, fold_batch_norms, trace
from jerboa.training.quantize import export, freeze, quantize
from jerboa.training.ranges import affine, choose_range

SCALE, ZERO = 0.11, 60
torch.set_num_threads(1)
SHAPES = {"temporal": (49, 40), "ds_cnn": (49, 10), "one_fstride4": (30, 40)}


def clips(count, shape, seed=0):
    """Random features on the input grid with some structure over time."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 30, (count, 1, 1, shape[1])).cumsum(0) % 90
    steps = np.clip(rng.normal(0, 25, (count, 1, *shape)) + drift, -128, 127).round()
    return torch.from_numpy(((steps - ZERO) * SCALE).astype(np.float32))


def network(name, seed=0):
    """A network whose batch norms have seen data and have uneven affine parameters."""
    torch.manual_seed(seed)
    module = models.build(name, *SHAPES[name], 12)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    for seed_ in range(30):
        module.train()(clips(16, SHAPES[name], seed_))
    return module.eval()


def uneven(module, spread):
    """The same function with channel ranges apart by ``spread``: batch norms scaled up, the next layers scaled down."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for norm, after in zip(layers[1::2], layers[2::2]):
            factor = torch.from_numpy(np.exp(rng.uniform(-1, 1, norm.num_features) * np.log(spread)).astype(np.float32))
            norm.weight *= factor
            norm.bias *= factor
            after.weight /= factor.reshape((-1, 1, 1, 1) if after.groups > 1 else (1, -1, 1, 1))
    return module


def noise_ratio(exact, rounded):
    """Power of the error over power of the signal."""
    return float((exact - rounded).square().sum() / (exact - exact.mean(0)).square().sum())


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_folding_and_equalising_keep_the_function(name):
    module, x = network(name), clips(8, SHAPES[name], 99)
    folded = fold_batch_norms(trace(module))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert torch.allclose(folded(x), module(x), atol=1e-4)
    assert torch.allclose(equalize(folded, clips(32, SHAPES[name]))(x), module(x), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("name", SHAPES)
def test_post_training_quantisation_stays_near_float(name, method):
    module, x = network(name), clips(64, SHAPES[name], 99)
    rounded = freeze(quantize(module, clips(64, SHAPES[name]), SCALE, ZERO, method))
    assert noise_ratio(module(x), rounded(x)) < 0.05


@torch.no_grad()
def test_depthwise_networks_with_uneven_channels_do_not_collapse(monkeypatch):
    module, x = network("ds_cnn"), clips(64, (49, 10), 99)
    before = module(x)
    uneven(module, spread=100)
    assert torch.allclose(module(x), before, atol=1e-3)
    calibration = clips(64, (49, 10))
    assert noise_ratio(before, freeze(quantize(module, calibration, SCALE, ZERO))(x)) < 0.05
    monkeypatch.setattr(quantize_module, "equalize", lambda folded, _: folded)
    assert noise_ratio(before, freeze(quantize(module, calibration, SCALE, ZERO))(x)) > 0.5


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_the_integer_graph_follows_the_rounded_network(name):
    rounded = quantize(network(name), clips(64, SHAPES[name]), SCALE, ZERO)
    x = clips(32, SHAPES[name], 99)
    graph = import_program(export(rounded, x[:1]), name)
    steps = torch.round(x / SCALE + ZERO).to(torch.int8).numpy().transpose(0, 2, 3, 1)
    logits = graph.nodes[-1].inputs[0]
    grid = graph.tensors[logits].quantization
    integers = (run_layers(graph, steps)[logits].reshape(len(x), -1).astype(int) - grid.zero_point) * grid.scale
    assert np.abs(integers - rounded.eval()(x).numpy()).max() < 3.01 * grid.scale


@torch.no_grad()
def test_freezing_changes_nothing_and_leaves_the_module_alone():
    rounded = quantize(network("temporal"), clips(32, (49, 40)), SCALE, ZERO)
    x, names = clips(8, (49, 40), 99), list(rounded.state_dict())
    assert torch.equal(freeze(rounded)(x), rounded.eval()(x))
    assert list(rounded.state_dict()) == names


def test_the_exported_program_holds_plain_numbers_and_known_operators():
    rounded = quantize(network("temporal"), clips(32, (49, 40)), SCALE, ZERO)
    nodes = [n for n in export(rounded, clips(1, (49, 40))).graph.nodes if n.op == "call_function"]
    assert {str(node.target) for node in nodes} == {
        f"aten.{name}"
        for name in (
            "conv2d.default",
            "linear.default",
            "relu.default",
            "add.Tensor",
            "mean.dim",
            "fake_quantize_per_tensor_affine.default",
            "fake_quantize_per_channel_affine.default",
        )
    }
    grids = [node.args[1:] for node in nodes if "per_tensor" in str(node.target)]
    assert grids[0] == (pytest.approx(SCALE), ZERO, -128, 127)
    assert all(isinstance(scale, float) and isinstance(zero, int) for scale, zero, *_ in grids)


def test_training_moves_weights_and_scales_but_not_the_input_grid():
    rounded = quantize(network("temporal"), clips(32, (49, 40)), SCALE, ZERO).train()
    before = {key: value.clone() for key, value in rounded.state_dict().items()}
    optimizer = torch.optim.SGD(rounded.parameters(), 0.1)
    x, labels = clips(32, (49, 40), 99), torch.arange(32) % 12
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(rounded(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = rounded.state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before if key.endswith(("log_scale", "weight")))
    grids = [n.args[1:3] for n in freeze(rounded).graph.nodes if n.target is torch.fake_quantize_per_tensor_affine]
    assert grids[0] == (pytest.approx(SCALE), ZERO)


@torch.no_grad()
def test_a_channel_without_weights_keeps_its_bias():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 1, 8, 8))
    module[0].weight[0] = 0
    module[0].bias[0] = 5.0
    x = clips(16, (8, 8))
    rounded = quantize(module, x, SCALE, ZERO)
    assert noise_ratio(module(x), freeze(rounded)(x)) < 0.05
    graph = import_program(export(rounded, x[:1]), "bias")
    assert len(graph.nodes) == 4


def test_a_batch_norm_without_its_convolution_is_refused():
    with pytest.raises(JerboaError, match=r"layer '0'"):
        fold_batch_norms(trace(nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3))))


def test_a_forward_that_branches_on_values_is_refused():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(JerboaError, match="cannot be traced"):
        trace(Branching())


numbers = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=50)


@settings(max_examples=60, deadline=None)
@given(numbers, st.sampled_from(["minmax", "percentile", "mse"]))
def test_a_range_holds_zero_exactly_and_is_not_wider_than_needed(values, method):
    sample = np.array(values, np.float32)
    low, high = choose_range(sample, float(sample.min()), float(sample.max()), method)
    scale, zero_point = affine(low, high)
    assert low <= 0 <= high and scale > 0 and -128 <= zero_point <= 127
    assert low >= min(sample.min(), 0) and high <= max(sample.max(), 0) + 1e-6
    if method == "minmax":
        steps = np.clip(np.rint(sample / scale) + zero_point, -128, 127)
        assert np.abs((steps - zero_point) * scale - sample).max() <= scale * 1.01


def test_an_outlier_narrows_the_range_of_mse_but_not_of_minmax():
    sample = np.append(np.random.default_rng(0).normal(0, 1, 50_000), [40.0]).astype(np.float32)
    extremes = float(sample.min()), float(sample.max())
    assert choose_range(sample, *extremes, "minmax") == extremes
    assert choose_range(sample, *extremes, "mse")[1] < 39
    assert choose_range(sample, *extremes, "percentile")[1] < 10
