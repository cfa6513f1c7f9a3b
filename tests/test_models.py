"""The registered networks: sizes that papers state, shapes, and what a wrong name or option says."""

import numpy as np
import pytest
import torch
from torch import nn

from jerboa import models
from jerboa.errors import JerboaError
from jerboa.models.normalize import ClipNormalize

torch.set_num_threads(1)
SHAPES = {"temporal": (49, 40), "ds_cnn": (49, 10), "one_fstride4": (30, 40)}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module, shape):
    """Products of convolutions and dense layers for one clip, counted from the shapes that really flow."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    module.eval()(torch.zeros(1, 1, *shape))
    return total


def test_every_network_is_listed_with_a_description():
    assert set(models.names()) == set(SHAPES)
    assert all(len(models.architecture(name).description) > 20 for name in models.names())


@pytest.mark.parametrize("name", SHAPES)
def test_gives_one_logit_per_class(name):
    network = models.build(name, *SHAPES[name], 7).eval()
    assert network(torch.zeros(3, 1, *SHAPES[name])).shape == (3, 7)


def test_one_fstride4_has_the_papers_size():
    network = models.build("one_fstride4", 30, 40, 6)
    assert parameters(network) == 119_936
    assert count_macs(network, (30, 40)) == 476_576


def test_ds_cnn_has_the_benchmarks_size():
    network = models.build("ds_cnn", 49, 10, 12)
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert weights == 64 * 40 + 4 * 64 * (9 + 64) + 64 * 12
    assert count_macs(network, (49, 10)) == 125 * (64 * 40 + 4 * 64 * (9 + 64)) + 64 * 12


def test_the_default_fits_forty_kilobytes_of_weights():
    network = models.build("temporal", 49, 40, 12)
    assert sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)) < 40_000


def test_the_default_takes_other_front_ends():
    for frames, features in ((30, 40), (99, 32), (49, 64), (25, 23)):
        assert models.build("temporal", frames, features, 4).eval()(torch.zeros(1, 1, frames, features)).shape == (1, 4)


def test_the_default_is_a_temporal_convolution_behind_its_stem():
    """A change in one frame reaches only the kernels' span of the last block's output: what streaming needs."""
    network = models.build("temporal", 399, 40, 4, {"kernels": [3, 3]}).eval()
    clip = torch.randn(1, 1, 399, 40)
    other = clip.clone()
    other[0, 0, 200] += 1.0
    with torch.no_grad():
        outputs = [network.blocks(network.collapse(network.stem(x))) for x in (clip, other)]
    changed = (outputs[0] != outputs[1]).any(1).flatten().nonzero().flatten()
    assert len(changed) and changed.min() >= 100 - 7 and changed.max() <= 100 + 7


def test_names_and_options_that_do_not_exist():
    with pytest.raises(JerboaError, match="did you mean 'temporal'"):
        models.build("temporel", 49, 40, 12)
    with pytest.raises(JerboaError, match="did you mean 'channels'"):
        models.build("temporal", 49, 40, 12, {"chanels": 32})
    with pytest.raises(JerboaError, match="a whole number"):
        models.build("temporal", 49, 40, 12, {"channels": "many"})
    with pytest.raises(JerboaError, match="odd"):
        models.build("temporal", 49, 40, 12, {"kernels": [4]})
    with pytest.raises(JerboaError, match="8 features"):
        models.build("one_fstride4", 30, 6, 12)


def test_options_change_the_network():
    assert parameters(models.build("temporal", 49, 40, 12, {"channels": 96})) > 50_000


def test_clip_normalize_removes_gain_and_offset_of_each_clip():
    x = torch.from_numpy(np.random.default_rng(1).normal(3, 5, (4, 1, 30, 40)).astype(np.float32))
    y = ClipNormalize()(x)
    assert torch.allclose(y.mean((1, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(y.std((1, 2, 3), correction=0), torch.ones(4), atol=1e-5)
    scaled = ClipNormalize()(x * torch.tensor([1.0, 2.0, 9.0, 0.1]).reshape(-1, 1, 1, 1) - 40)
    assert torch.allclose(scaled, y, atol=1e-3)


def test_clip_normalize_of_a_constant_clip_is_zero():
    assert ClipNormalize()(torch.full((1, 1, 30, 40), -8.0)).abs().max() < 1e-3
