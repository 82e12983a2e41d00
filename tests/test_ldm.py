"""The latent diffusion model with a small network of random weights: guidance, files, lengths."""
from dataclasses import replace

import pytest
import torch

from mst.autoencoder import Autoencoder
from mst.ldm import (
    LDM, LDM_PRESETS, DiffusionConfig, ForwardDiffusion, load_ldm, relative_change, save_ldm)

CONFIG = replace(LDM_PRESETS["mst"],
                 unet=replace(LDM_PRESETS["mst"].unet, width=64, style_dim=32, blocks=1, grid=16))


@pytest.fixture(scope="module")
def autoencoder():
    torch.manual_seed(0)
    return Autoencoder(CONFIG.autoencoder).eval()


@pytest.fixture(scope="module")
def ldm(autoencoder):
    torch.manual_seed(0)
    ldm = LDM(CONFIG, autoencoder).eval().requires_grad_(False)
    for p in ldm.unet.parameters():
        torch.nn.init.normal_(p, std=.05)
    return ldm


@pytest.fixture(scope="module")
def given(ldm):
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 4, 64, 16, 8, generator=generator)
    styles = ldm.encode_style(torch.rand(4, 1, 256, 64, generator=generator))
    return z, noise, styles


def test_guidance_by_example(ldm, given):
    z, noise, styles = given
    t = torch.full((4,), 50)
    plain, without = (ldm.estimate(noise, t, s, z) for s in (styles, ldm.no_style(styles)))
    assert torch.equal(ldm.guided(noise, t, styles, z), plain)
    scales = torch.tensor([1., 0, 2, 1]).view(-1, 1, 1, 1)
    wanted = torch.stack([plain[0], without[1], 2 * plain[2] - without[2], plain[3]])
    assert torch.allclose(ldm.guided(noise, t, styles, z, scales), wanted, atol=1e-5)


def test_a_saved_model_answers_as_before(tmp_path, ldm, autoencoder):
    path = tmp_path / "ldm.safetensors"
    save_ldm(path, ldm, autoencoder, {"seed": 0})
    generator = torch.Generator().manual_seed(0)
    image, step = torch.rand(1, 1, 256, 64, generator=generator), torch.tensor([100])
    noise = torch.randn(1, 64, 16, 8, generator=generator)
    loaded = load_ldm(path, autoencoder)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert torch.allclose(loaded(image, image, step, noise).output,
                          ldm(image, image, step, noise).output, atol=.02)
    with pytest.raises(ValueError, match="another autoencoder"):
        load_ldm(path, Autoencoder(CONFIG.autoencoder))


def test_a_model_with_a_decoder_of_its_own_is_saved_whole(tmp_path):
    path, autoencoder = tmp_path / "ldm.safetensors", Autoencoder()
    ldm = LDM(autoencoder=autoencoder).eval()
    save_ldm(path, ldm, autoencoder, {})
    image, step = torch.rand(1, 1, 128, 64), torch.tensor([100])
    noise = torch.randn(1, 32, 16, 8)
    loaded = load_ldm(path)
    assert not loaded.training and loaded.config == ldm.config
    assert torch.allclose(loaded(image, image, step, noise).image,
                          ldm(image, image, step, noise).image, atol=.02)
    with pytest.raises(ValueError, match="which is part of it"):
        load_ldm(path, autoencoder)


def test_noised_several_times_and_styles_left_out(ldm):
    generator = torch.Generator().manual_seed(0)
    content, style = torch.rand(2, 2, 1, 256, 64, generator=generator)
    noise, t = torch.randn(4, 64, 16, 8, generator=generator), torch.tensor([10, 20, 30, 40])
    dropped = torch.tensor([False, False, True, True])
    out = ldm(content, style, t, noise, without_style=dropped, decode=False)
    assert out.image is None and out.z_0.shape == noise.shape
    assert torch.equal(out.z_0[:2], out.z_0[2:])
    for k in range(4):
        alone = ldm(content[k % 2:][:1], style[k % 2:][:1], t[k:k + 1], noise[k:k + 1],
                    without_style=dropped[k:k + 1])
        assert torch.allclose(alone.output, out.output[k:k + 1], atol=1e-5)


@pytest.mark.parametrize("config", [DiffusionConfig(), DiffusionConfig(1000),
                                    DiffusionConfig(prediction="v"),
                                    DiffusionConfig(zero_terminal_snr=True, prediction="v")])
def test_what_is_asked_for_tells_signal_and_noise(config):
    diffusion, generator = ForwardDiffusion(config), torch.Generator().manual_seed(0)
    z_0, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
    t = torch.tensor([0, config.num_timesteps // 2, config.num_timesteps - 1])
    z_t = diffusion(z_0, t, noise)
    if config.num_timesteps == 1000:  # little signal is left, and much of it lost to rounding
        z_0, noise, z_t, t = z_0[:2], noise[:2], z_t[:2], t[:2]
    predicted = diffusion.predictions(z_t, t, diffusion.training_target(z_0, t, noise))
    for prediction, truth in zip(predicted, (z_0, noise)):
        assert torch.allclose(prediction, truth, atol=1e-4)


def test_configurations_that_make_no_sense():
    with pytest.raises(ValueError, match="needs prediction v"):
        ForwardDiffusion(DiffusionConfig(zero_terminal_snr=True))
    with pytest.raises(ValueError, match="prediction must be noise or v, got 'x'"):
        ForwardDiffusion(DiffusionConfig(prediction="x"))
    with pytest.raises(ValueError, match="the model wants"):
        LDM(CONFIG, Autoencoder())


def test_relative_change():
    assert relative_change(torch.ones(3), torch.ones(3)) == 0
    assert relative_change(torch.ones(3), -torch.ones(3)) == pytest.approx(2)
