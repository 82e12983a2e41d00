"""The sampler and what is built on it: randomness, guidance, and what cannot be asked for."""
from dataclasses import replace

import pytest
import torch

from mst.autoencoder import load_autoencoder
from mst.ddim import DDIM, ddim_timesteps, generate, style_denoiser, transfer_images
from mst.ldm import LDM, LDM_PRESETS, ForwardDiffusion, transfer_mean

DIFFUSION = ForwardDiffusion()
ALPHA_BAR = DIFFUSION.alphas_cumprod


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def walk(predict, z, steps, eta=0., seed=0):
    return DDIM(ALPHA_BAR, steps, eta).sample(predict, z, seeded(seed))


@pytest.mark.parametrize("levels", [1, 2, 57, 200])
def test_steps_fall_from_the_noisiest(levels):
    for n in range(1, levels + 1):
        steps = ddim_timesteps(levels, n)
        assert len(steps) == n and steps[0] == levels - 1 and steps[-1] >= 0
        assert all(a > b for a, b in zip(steps, steps[1:]))


@pytest.mark.parametrize("arguments, reason", [
    ((200, 0), "1 to 200 sampling steps"), ((200, 101, 99), "1 to 100 sampling steps"),
    ((200, 5, 200), "start must be in"), ((200, 5, None, "even"), "trailing or leading")])
def test_steps_that_cannot_be(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        ddim_timesteps(*arguments)


@pytest.mark.parametrize("eta", [0., 1.])
def test_told_the_truth_it_finds_the_latent(eta):
    z_0, noise = torch.randn(2, 2, 4, 8, 8, generator=seeded())
    def true_noise(z, t):
        a = DIFFUSION.alpha_bar(t)
        return (z - a.sqrt() * z_0) / (1 - a).sqrt()
    for start, n in ((199, 50), (42, 9)):
        z_t = DIFFUSION(z_0, torch.tensor([start, start]), noise)
        found = walk(true_noise, z_t, ddim_timesteps(200, n, start), eta, 3)
        torch.testing.assert_close(found, z_0, atol=1e-4, rtol=0)


def test_randomness_is_the_generators_and_only_with_eta():
    z = torch.randn(1, 2, 4, 4, generator=seeded())
    def predict(z, t): return .5 * z
    steps = ddim_timesteps(200, 20)
    assert torch.equal(walk(predict, z, steps, 1., 1), walk(predict, z, steps, 1., 1))
    assert not torch.equal(walk(predict, z, steps, 1., 1), walk(predict, z, steps, 1., 2))
    assert torch.equal(walk(predict, z, steps, 0., 1), walk(predict, z, steps, 0., 2))


def test_callback_sees_every_step():
    visited = []
    z = torch.randn(1, 2, 4, 4, generator=seeded())
    DDIM(DIFFUSION, 5).sample(lambda z, t: z, z, callback=lambda k, t, z: visited.append((k, t)))
    assert visited == list(enumerate(ddim_timesteps(200, 5)))


@pytest.mark.parametrize("options, reason", [
    ({"steps": [50, 90]}, "fall strictly"), ({"steps": [200, 3]}, "fall strictly"),
    ({"steps": [3, -1]}, "fall strictly"), ({"steps": []}, "fall strictly"),
    ({"steps": 201}, "1 to 200"), ({"steps": 3, "eta": 1.5}, "eta must be"),
    ({"steps": 3, "eta": float("nan")}, "eta must be")])
def test_samplers_that_cannot_be(options, reason):
    with pytest.raises(ValueError, match=reason):
        DDIM(DIFFUSION, **options)


@pytest.mark.parametrize("eta", [0., .5])
def test_its_steps_are_its_walk(eta):
    z = torch.randn(1, 2, 4, 4, generator=seeded())
    sampler, draw, walked = DDIM(DIFFUSION, 7, eta, start=120), seeded(2), z
    for t in sampler.steps:
        noise = torch.randn(z.shape, generator=draw) if eta else None
        walked = sampler.step(walked, .3 * walked, t, noise)
    assert torch.equal(sampler.sample(lambda z, t: .3 * z, z, seeded(2)), walked)
    with pytest.raises(ValueError, match="one of the steps"):
        sampler.step(z, z, 3)


def test_what_was_inverted_is_found_again():
    """The best estimate for latents of size 1 / 2 changes slowly with the step."""
    def predict(z, t):
        a = DIFFUSION.alpha_bar(t)
        return (1 - a).sqrt() * z / (.25 * a + 1 - a)
    z_0, sampler = .5 * torch.randn(2, 2, 4, 4, generator=seeded()), DDIM(DIFFUSION, 200)
    z_T = sampler.invert(predict, z_0)
    assert .8 < z_T.std() < 1.2
    torch.testing.assert_close(sampler.sample(predict, z_T), z_0, atol=.03, rtol=0)
    with pytest.raises(ValueError, match="no way back"):
        DDIM(DIFFUSION, 200, eta=.1).invert(predict, z_0)


@pytest.fixture(scope="module")
def tiny():
    """Preset mst with a small random network."""
    torch.manual_seed(0)
    config = LDM_PRESETS["mst"]
    small = replace(config.unet, width=64, style_dim=32, blocks=1, grid=16)
    ldm = LDM(replace(config, unet=small), load_autoencoder()).eval()
    for p in ldm.unet.parameters():
        torch.nn.init.normal_(p, std=.05)
    return ldm


@pytest.fixture
def clips():
    return torch.rand(2, 2, 1, 256, 64, generator=seeded())


@pytest.mark.parametrize("steps", [1, 3])
def test_one_style_for_many_contents(tiny, clips, steps):
    content, style = clips
    result = transfer_images(tiny, content, style[:1], None, steps, generator=seeded(),
                             guidance_scale=2.)
    assert result.shape == content.shape


def test_guidance(tiny, clips):
    content, style = clips
    def play(**options):
        return transfer_images(tiny, content, style, None, 2, generator=seeded(), **options)
    assert torch.equal(play(guidance_scale=1.), play())
    assert (play(guidance_scale=1.) - play(guidance_scale=3.)).abs().max() > 0


def test_an_image_is_played_alone_as_in_company(tiny):
    content, style = torch.rand(2, 3, 1, 256, 128, generator=seeded(0))
    together = transfer_mean(tiny, content, style)
    for k in range(3):
        alone = transfer_mean(tiny, content[k:k + 1], style[k:k + 1])
        torch.testing.assert_close(alone, together[k:k + 1], atol=1e-4, rtol=0)
    one_style = transfer_mean(tiny, content, tiny.encode_style(style[:1]))
    torch.testing.assert_close(one_style[:1], together[:1], atol=1e-4, rtol=0)


def test_how_far_a_mean_is_led(tiny):
    content, style = torch.rand(2, 2, 1, 256, 64, generator=seeded(1))
    mean, further = (transfer_mean(tiny, content, style, scale) for scale in (1., 2.))
    from_none = transfer_mean(tiny, content, style, 1., from_none=True)
    torch.testing.assert_close(from_none, mean, atol=1e-3, rtol=0)  # it is where it was
    assert (further - mean).abs().max() > .01
    assert (transfer_mean(tiny, content, style, 2., from_none=True) - further).abs().max() > .01
    in_its_own = transfer_mean(tiny, content, content, 3.)  # there is nothing to be led away from
    torch.testing.assert_close(in_its_own, transfer_mean(tiny, content, content, 1.), atol=1e-3,
                               rtol=0)


def test_a_model_that_sees_a_content_generates_without_one(tiny, clips):
    style = clips[1]
    drawn = generate(tiny, style, 2, generator=seeded())
    nothing = style_denoiser(tiny, style, torch.zeros(2, 64, 16, 8))
    noise = torch.randn(2, 64, 16, 8, generator=seeded())
    walked = tiny.decode(DDIM(tiny.forward_diffusion, 2).sample(nothing, noise)).clamp(0, 1)
    torch.testing.assert_close(drawn, walked)
    tokens = {k: v[:1] for k, v in tiny.encode_style(style).items()}  # one style for all noises
    assert generate(tiny, tokens, 2, noise=noise, guidance_scale=2.).shape == style.shape
    with pytest.raises(ValueError, match="multiple of 8"):
        generate(tiny, style, 2, frames=60)
    with pytest.raises(ValueError, match="give noise"):
        generate(tiny, tokens, 2, frames=64)
