"""The training loop on a line through noisy points: broken batches, stops, precision, resume."""
import math
import os
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from mst.callbacks import EMA, Callback, CosineDecay, History, ReduceLROnPlateau
from mst.checkpoints import load_tensors
from mst.processes import Stopped
from mst.training import Checkpoint, Trainer, model_weights


class Points(Dataset):
    def __init__(self, n, seed):
        self.x = torch.randn(n, 1, generator=torch.Generator().manual_seed(seed))
        noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(seed + 1))
        self.y = 3 * self.x + 1 + .1 * noise

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def line_loss(model, batch, generator):
    x, y = batch
    jitter = .01 * torch.randn(x.shape, generator=generator)
    return {"loss": (model(x + jitter) - y).square().mean()}


def line_trainer(callbacks=(), loss_fn=line_loss, **options):
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=.05)
    options = {"config": {"net": "line"}, "batch_size": 16} | options
    return Trainer(model, loss_fn, optimizer, Points(200, 1), Points(50, 3), callbacks=callbacks,
                   **options)


def line_times(factor):
    """A loss that is multiplied by `factor(step)` in training, and as it is in validation."""
    steps = iter(range(1000))

    def loss(model, batch, generator):
        by = factor(next(steps)) if model.training else 1.
        return {"loss": line_loss(model, batch, generator)["loss"] * by}
    return loss


def test_short_gradients_make_short_steps():
    still = line_trainer(max_grad_norm=1e-12, bf16=False)
    # or Adam makes long steps of short gradients
    still.optimizer.param_groups[0].update(eps=1., weight_decay=0.)
    before = [p.detach().clone() for p in still.model.parameters()]
    for a, b in zip(before, still.fit(1).model.parameters()):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_training_is_on_the_device_that_was_asked_for(monkeypatch):
    """Also if another was trained on in this process before, and if it is not the first GPU."""
    line_trainer(device="cpu")
    monkeypatch.setattr("mst.training.choose_device", lambda name: torch.device(name))
    monkeypatch.setattr(nn.Module, "to", lambda self, *args, **options: self)
    trainer = line_trainer(device="cuda:1")
    assert str(trainer.device) == "cuda:1" and trainer.bf16


def test_16_bits_where_asked_for():
    kinds = set()

    def loss(model, batch, generator):
        kinds.add(model(batch[0]).dtype)
        return line_loss(model, batch, generator)
    line_trainer(loss_fn=loss, bf16=True).fit(1)
    assert kinds == {torch.bfloat16}


def test_broken_batches_are_skipped_and_counted():
    trouble = {15: math.inf, 16: math.nan, 30: 1e6}
    spoilt = line_trainer(loss_fn=line_times(lambda k: trouble.get(k, 1.)), max_grad_norm=100.)
    spoilt.fit(3)
    assert spoilt.metrics["skipped"] == 1  # in the third epoch
    spoilt.fit(12)
    assert spoilt.model.weight.item() == pytest.approx(3, abs=.2)
    assert spoilt.metrics["skipped"] == 0


def test_an_epoch_of_nothing_but_broken_batches():
    short = line_trainer(loss_fn=line_times(lambda k: math.nan), batch_size=100)  # two steps
    with pytest.raises(FloatingPointError) as told:
        short.fit(9)
    assert "epoch 1 has no finite training loss (all steps were skipped)" in str(told.value)


def test_a_broken_validation():
    def loss(model, batch, generator):
        by = 1. if model.training else math.nan
        return {"loss": line_loss(model, batch, generator)["loss"] * by}
    with pytest.raises(FloatingPointError, match="epoch 1 has no finite validation loss"):
        line_trainer(loss_fn=loss).fit(1)


def test_a_training_that_explodes():
    loss = line_times(lambda k: 10. ** max(0, k - 20))
    with pytest.raises(FloatingPointError, match="in epoch 3, step"):
        line_trainer(loss_fn=loss, max_grad_norm=100.).fit(4)


def test_parts_make_no_difference_but_for_their_noise():
    weights = [line_trainer(parts=parts).fit(1).model.weight.item() for parts in (1, 2, 3)]
    assert max(weights) - min(weights) < .01  # as many examples, other noise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_stops_after_it(number):
    steps = iter(range(1000))

    def loss(model, batch, generator):
        if next(steps) == 4:
            os.kill(os.getpid(), number)
        return line_loss(model, batch, generator)
    trainer = line_trainer(loss_fn=loss)
    with pytest.raises(Stopped, match="stopped in epoch 1 of 2 after step 5 of 13; nothing was"):
        trainer.fit(2)
    assert trainer.fit(2).epoch == 2  # and goes on when called again


class Rates(Callback):
    def __init__(self):
        self.rates = []

    def after_step(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def test_cosine_decay():
    net, rates = nn.Linear(3, 1), Rates()
    Trainer(net, lambda net, batch, generator: {"loss": net(batch[0]).square().mean()},
            torch.optim.SGD(net.parameters(), .1), TensorDataset(torch.ones(8, 3)), None, 2,
            [CosineDecay(warmup=2), rates]).fit(2)
    assert rates.rates[0] == pytest.approx(.1 * .5 * (1 + math.cos(math.pi / 8)), abs=1e-6)
    assert rates.rates[3] == pytest.approx(.05, abs=1e-6)
    assert rates.rates[-1] == pytest.approx(0, abs=1e-9)


class Flat(Callback):
    """Pretends that validation stands still."""
    def after_epoch(self, trainer):
        trainer.metrics["valid_loss"] = 1.


def test_learning_rate_on_a_plateau(tmp_path):
    history = History(tmp_path / "history.csv")
    line_trainer([Flat(), ReduceLROnPlateau(patience=2), history]).fit(9)
    assert history["learning_rate"] == [.05] * 4 + [.025] * 3 + [.0125] * 2
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 10


def test_moving_average():
    ema = EMA(decay=.9)
    weight = line_trainer([ema]).fit(20).model.weight.item()
    assert ema.model.weight.item() == pytest.approx(weight, abs=.05)
    assert ema.model.weight.item() != weight


def test_what_best_and_last_hold(tmp_path):
    line_trainer([EMA(), Checkpoint(tmp_path)]).fit(3)
    best, info = load_tensors(tmp_path / "best.safetensors")
    last, _ = load_tensors(tmp_path / "last.safetensors")
    assert sorted(best) == ["bias", "weight"] and info["config"] == {"net": "line"}
    for name, averaged in model_weights(last).items():
        assert torch.equal(averaged, last[f"ema/{name}"])


def test_another_configuration_is_not_overwritten(tmp_path):
    line_trainer([Checkpoint(tmp_path)]).fit(1)
    with pytest.raises(ValueError, match="net: line there, curve here"):
        line_trainer([Checkpoint(tmp_path)], config={"net": "curve"}).fit(6)


def convolution(folder, epochs):
    """Laid out as the autoencoder is; the fused optimizer goes through memory in order."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(.3)).to(memory_format=torch.channels_last)
    images = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    def loss(net, batch, generator):
        return {"loss": (net(batch[0]) - 1).square().mean()}
    trainer = Trainer(net, loss, torch.optim.AdamW(net.parameters(), 1e-2, fused=True),
                      TensorDataset(images), batch_size=8, callbacks=[Checkpoint(folder)])
    return trainer.fit(epochs).model.state_dict()


def test_resumed_to_the_bit_with_dropout_and_a_layout(tmp_path):
    once = convolution(tmp_path / "once", 4)
    convolution(tmp_path / "twice", 2)
    torch.rand(7)  # something else draws in between
    for name, value in convolution(tmp_path / "twice", 4).items():
        assert torch.equal(value, once[name]), name
