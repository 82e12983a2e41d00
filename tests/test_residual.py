"""The UNet over time: it begins with nothing, takes any length, and hears every column alike."""
import pytest
import torch

from mst.ldm import SinusoidalPositionEmbeddings
from mst.residual import (
    FrameBlock, FrameStage, Modulation, ResidualUNet, StyleTokens, UNetConfig, join_frames,
    split_frames)

CONFIG = UNetConfig(residual=True, width=64, style_dim=32, blocks=1)
GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=GENERATOR)


@pytest.fixture(autouse=True)
def no_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def unet():
    embedding = SinusoidalPositionEmbeddings(CONFIG.time_dim)
    return ResidualUNet(8, 4, CONFIG, embedding).eval()


@pytest.mark.parametrize("frames", [1, 2, 7, 16])
def test_any_number_of_frames(unet, frames):
    tokens = StyleTokens(4, CONFIG)(draw(3, 4, 16, 5))
    assert tokens["tokens"].shape == (3, 5, 32)
    out = unet(draw(3, 8, 16, frames), torch.tensor([0, 5, 199]), tokens)
    assert out.shape == (3, 4, 16, frames)
    assert out.abs().max() == 0  # begins with nothing


def test_layers_begin_as_the_identity():
    x, condition, tokens = draw(2, 9, 64), draw(2, 32), draw(2, 5, 32)
    assert torch.equal(FrameBlock(64, 32)(x, condition), x)
    assert torch.equal(FrameStage(CONFIG)(x, condition, tokens), x)
    normalised = Modulation(64, 32)(x, condition)
    assert torch.allclose(normalised, torch.nn.functional.layer_norm(x, (64,)))


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_frames_joined_and_split(frames):
    x = draw(2, frames, 6)
    assert join_frames(x).shape == (2, (frames + 1) // 2, 12)
    assert torch.equal(split_frames(join_frames(x), frames), x)


def test_order_of_the_style_tokens_does_not_matter(unet):
    for p in unet.parameters():
        torch.nn.init.normal_(p, std=.1)
    z_t, t, tokens = draw(1, 8, 16, 6), torch.tensor([50]), draw(1, 5, 32)
    same = unet(z_t, t, {"tokens": tokens.flip(1)})
    assert torch.allclose(unet(z_t, t, {"tokens": tokens}), same, atol=1e-4)
    assert not torch.allclose(unet(z_t, t, {"tokens": tokens + draw(1, 5, 32)}), same, atol=1e-2)


def test_names_of_the_weights_are_those_of_shipped_files(unet):
    """Files of weights know them by these names."""
    names = {name.split(".")[0] for name in unet.state_dict()}
    assert names == {"time_mlp", "style_mlp", "enter", "encode", "middle", "decode", "down", "up",
                     "join", "last", "leave", "keep"}
    assert "encode.0.mix.weight" in unet.state_dict()
    assert "decode.1.key_value.weight" in unet.state_dict()
