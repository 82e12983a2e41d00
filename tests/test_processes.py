"""What goes on around a step of training: parts, signals, kept memory."""
import os
import platform
import signal
import threading

import pytest
import torch

from mst.processes import (
    Stopped, catch_signals, has_bf16, keep_memory, model_gradients, own_parts, running_statistics,
    split_batches)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 33])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_every_example_has_one_process(n, parts, train):
    batches = split_batches(torch.arange(n), 8, parts, train)
    used = torch.cat([part for batch in batches for part in batch])
    assert torch.equal(used, torch.arange(len(used)))
    assert len(used) == n or train and n - len(used) < 2 * parts
    for processes in (1, 2, 7):
        for batch in batches:
            taken = [p for rank in range(processes) for p in own_parts(batch, rank, processes)]
            assert sorted(j for j, _, share in taken if share) == list(range(len(batch)))
            assert sum(share for *_, share in taken) == pytest.approx(1)


def test_training_drops_a_last_batch_too_short_for_its_parts():
    assert len(split_batches(torch.arange(11), 4, 2, True)) == 2
    assert len(split_batches(torch.arange(12), 4, 2, True)) == 3
    assert len(split_batches(torch.arange(3), 4, 2, True)) == 1


def test_gradients_are_those_of_the_parameters():
    net = torch.nn.Linear(2, 1)
    zeros = model_gradients(net)
    assert [g.tolist() for g in zeros] == [[[0., 0.]], [0.]]
    zeros[1] += 1
    assert net.bias.grad.item() == 1


def test_frozen_statistics_are_left_alone():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(3).eval())
    assert [len(s) for s in running_statistics(net)] == [2, 2]


def test_signals_are_noted_once_and_put_back():
    notes, handlers = [], [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        with catch_signals(lambda: notes.append("asked")):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    assert notes == ["asked"] * 2
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert issubclass(Stopped, KeyboardInterrupt)  # `except Exception` must not swallow it


def test_signals_in_another_thread_are_not_caught():
    entered = []

    def work():
        with catch_signals(lambda: None):
            entered.append(signal.getsignal(signal.SIGINT))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGINT)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's memory")
def test_kept_memory_is_not_fetched_again():
    import resource

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.empty(20_000_000).fill_(1.)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    with keep_memory(1000):
        faults()
        kept = faults()
    assert faults() > 10 * max(kept, 100)


def test_gpus_have_16_bits():
    assert has_bf16("cuda") and isinstance(has_bf16("cpu"), bool)
