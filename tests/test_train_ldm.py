"""The objective on every kind of pair, and the rounds of the shipped model, short ones."""
from dataclasses import replace

import pytest
import torch

from mst.autoencoder import load_autoencoder, raise_floor
from mst.checkpoints import load_tensors, weights_digest
from mst.features import FeatureConfig
from mst.ldm import LDM, LDM_PRESETS, LDMOutput
from mst.run import Run
from mst.train_ldm import LDM_TRAINING_PRESETS, LDMLoss, label_loss, main, train_mst
from mst.training import model_weights
from mst.twins import load_twins
from test_render import needs_synthesizer

ONE_EPOCH = replace(LDM_TRAINING_PRESETS["mst"], epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def twins():
    return load_twins(Run(profile="smoke"), "val", (("plain",),))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    small = replace(LDM_PRESETS["mst"].unet, width=64, style_dim=32, blocks=1, grid=16)
    return LDM(replace(LDM_PRESETS["mst"], unet=small), load_autoencoder())


def loss_of(training, ldm, twins):
    numbers = torch.tensor([i % len(twins) for i in range(4)])
    return LDMLoss(training, twins=twins)(ldm.train(), numbers, torch.Generator().manual_seed(0))


@needs_synthesizer
@pytest.mark.parametrize("pairs", ["strangers", "own", "twins"])
def test_every_term_with_its_weight(tiny, twins, pairs):
    features = replace(ONE_EPOCH.compression, features=FeatureConfig("instruments"))
    weighted = replace(ONE_EPOCH, pairs=pairs, reconstruction_weight=1., style_weight=3.,
                       compression=features)
    losses = loss_of(weighted, tiny, twins)
    total = losses["diffusion"] + losses["reconstruction"] + 3 * losses["style"]
    assert losses["loss"].item() == pytest.approx(total.item(), abs=1e-4)


@needs_synthesizer
def test_labels_in_the_loss(tiny, twins):
    losses = loss_of(replace(ONE_EPOCH, label_weight=.1), tiny, twins)
    total = losses["diffusion"] + .1 * losses["labels"]
    assert losses["loss"].item() == pytest.approx(total.item(), abs=1e-5)


def test_label_loss():
    near = torch.tensor([[1., 0], [1, .1], [0, 1], [.1, 1]])
    far = torch.tensor([[1., 0], [0, 1], [1, .1], [.1, 1]])
    assert label_loss(near, list("aabb")) < .1 < 5 < label_loss(far, list("aabb"))
    assert label_loss(near, list("abcd")).item() == 0.  # nobody to lie near to


@needs_synthesizer
def test_rounds_go_on_from_each_other(tmp_path):
    """Two short ones: the second starts from the first, what is saved is their mean, and a second
    call has nothing left to do."""
    run, path = Run(profile="smoke", out=str(tmp_path)), tmp_path / "ldm.safetensors"
    rounds = ((1, (("plain",),), (-1.5,), 0.), (1, (("plain",),), (-4.,), .5))
    shipped = train_mst(run, path, rounds, (.25, .75), (), False)
    info = load_tensors(path)[1]
    assert info["rounds"] == [1, 1] and len(info["round_scores"]) == 3
    assert [len(v) for v in info["curves"].values()] == [2, 2]
    folders = [run.folder / name for name in ("shipped-ldm", "shipped-ldm-more")]
    last = [load_tensors(folder / "last.safetensors") for folder in folders]
    weights = [model_weights(tensors) for tensors, _ in last]
    begun = LDM(LDM_PRESETS["mst"], load_autoencoder())
    begun.load_state_dict(weights[0])
    assert last[1][1]["config"]["start"] == weights_digest(begun) != weights_digest(shipped)
    for name, value in shipped.unet.state_dict().items():
        mean = torch.lerp(weights[0]["unet." + name], weights[1]["unet." + name], .75)
        torch.testing.assert_close(value, mean, atol=1e-6, rtol=0)
    again = train_mst(run, path, rounds, (.25, .75), (), False)
    for a, b in zip(shipped.unet.state_dict().values(), again.unet.state_dict().values()):
        assert torch.equal(a, b)
    train_mst(run, path, rounds, (.25, .75), ())  # and a round on etudes, from there
    info = load_tensors(path)[1]
    assert info["rounds"] == [1, 1, 1] and len(info["round_scores"]) == 4
    header = load_tensors(run.folder / "shipped-ldm-etudes" / "last.safetensors")[1]
    assert header["config"]["start"] == weights_digest(shipped)


@needs_synthesizer
def test_estimates_of_the_mean_and_without_content(tiny, twins):
    seen = []
    hook = tiny.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    training = replace(ONE_EPOCH, noise_levels=2, mean_share=.5, drop_content=1.)
    loss_of(training, tiny, twins)
    hook.remove()
    (_, _, t, noise, _, _, without_content), = seen  # of 4 places, each twice
    last = tiny.config.diffusion.num_timesteps - 1
    assert (t[:4] == last).all() and not noise[:4].any() and not without_content[:4].any()
    assert noise[4:].flatten(1).std(1).min() > .5 and without_content[4:].all()


def test_the_distance_of_decoded_means_has_a_slope_and_counts_only_them(tiny):
    """Of a silent target as well; and what is not a mean changes nothing."""
    loss = LDMLoss(replace(ONE_EPOCH, noise_levels=2, mean_share=.5, lsd_weight=.07))
    latents = torch.randn(4, 64, 16, 8).requires_grad_()
    fields = dict.fromkeys(LDMOutput._fields) | {"z_0": latents, "z_0_pred": latents}
    target = torch.cat([torch.zeros(1, 1, 256, 64), tiny.decode(latents[1:2].detach())])
    distance = loss.mean_distance(tiny, LDMOutput(**fields), target)
    distance.backward()
    assert latents.grad.isfinite().all() and latents.grad[0].any() and not latents.grad[2:].any()
    truth = 40 * raise_floor(tiny.decode(latents[:1]), 100.).square().mean(-1).sqrt().mean()
    assert abs(distance - truth) < .1  # half of 80 dB, as the second is the target itself
    with pytest.raises(ValueError, match="mean_share"):
        LDMLoss(replace(ONE_EPOCH, lsd_weight=.07))
    assert [loss.training.means(count) for count in (1, 2, 8)] == [1, 1, 4]
    assert ONE_EPOCH.means(8) == 0


def test_the_loss_finds_its_device():
    loss = LDMLoss(replace(ONE_EPOCH, style_weight=1.), "auto")
    assert {p.device.type for p in loss.feature_loss.parameters()} == {loss.device.type}


def test_what_is_not_seen_changes_nothing(tiny):
    contents, style = torch.rand(2, 1, 256, 64), torch.rand(1, 1, 256, 128).expand(2, -1, -1, -1)
    steps, noise = torch.full((2,), 150), torch.randn(1, 64, 16, 8).expand(2, -1, -1, -1)
    with torch.no_grad():
        for parameter in tiny.unet.parameters():  # fresh, it would ignore everything
            parameter.add_(.02)
        seen, unseen = (tiny(contents, style, steps, noise, contents[:1].expand_as(contents),
                             without_content=torch.full((2,), dropped)).output
                        for dropped in (False, True))
    assert torch.equal(*unseen) and not torch.allclose(*seen)


def test_unknown_profile_is_said_in_a_line(capsys, monkeypatch):
    monkeypatch.delenv("MST_PROFILE", raising=False)
    assert main(["--profile", "huge"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
