"""Trainings that are killed, stopped, started twice or out of room, and trainings of several
processes."""
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from conftest import BIN, ROOT, free_port, run

from mst import autoencoder
from mst.checkpoints import load_tensors
from mst.data import Corpus
from mst.run import Run

# A small model of preset mst on random images, with all that a training has: two networks, an
# average, a schedule, dropped styles.
TRAIN = """
import os, sys, time, torch
from dataclasses import replace
from pathlib import Path
from torch.utils.data import Dataset
from mst.autoencoder import Autoencoder
from mst.ldm import LDM, LDM_PRESETS
from mst.train_ldm import LDM_TRAINING_PRESETS, LDMLoss
from mst.callbacks import EMA, Callback, CosineDecay, History
from mst.training import Checkpoint, Trainer, train_in

class Images(Dataset):
    def __len__(self): return 22
    def __getitem__(self, k): return ((self.image(k), "piano"), (self.image(k + 100), "violin"))
    def image(self, k): return torch.rand(1, 256, 32, generator=torch.Generator().manual_seed(k))

def make(folder, epochs, callbacks=(), parts=1, **options):
    torch.set_num_threads(1), torch.manual_seed(0)
    preset = LDM_PRESETS["mst"]
    config = replace(preset, unet=replace(preset.unet, width=64, style_dim=32, blocks=1, grid=16))
    ldm = LDM(config, Autoencoder(config.autoencoder))
    training = replace(LDM_TRAINING_PRESETS["mst"], pairs="strangers")
    trained = [p for p in ldm.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-3, fused=True)
    rest = [History(Path(folder) / "history.csv"), CosineDecay(5), EMA(.9)]
    callbacks = [*rest, Checkpoint(folder, minutes=0), *callbacks]
    return Trainer(ldm, LDMLoss(training), optimizer, Images(), Images(), 8, callbacks, {},
                   max_grad_norm=1., parts=parts, bf16=False, **options).fit(epochs)
"""
KILL = TRAIN + """
# Children of a process that has imported everything are killed at random moments and follow each
# other until one ends by itself; then comes another training, until so many were killed.
import os, random, signal
folder, kills, longest = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
rng, killed, trainings = random.Random(kills), 0, 0
while killed < kills:
    if not (child := os.fork()):
        make(folder / str(trainings), 3)
        os._exit(0)
    time.sleep(rng.uniform(0, longest))
    if rng.random() < .9: os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    killed, trainings = killed + (status > 0), trainings + (status == 0)
make(folder / str(trainings), 3)
print(killed)
"""


def python(code, *arguments, timeout=600, **env):
    return run([sys.executable, "-c", code, *arguments], timeout=timeout, OMP_NUM_THREADS="1",
               **env)


def weights(folder):
    return load_tensors(folder / "last.safetensors")[0]


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A training that nobody disturbed, and how long it took."""
    folder = tmp_path_factory.mktemp("straight")
    done = python(TRAIN + "start = time.time(); make(sys.argv[1], 3); print(time.time() - start)",
                  folder)
    assert done.returncode == 0, done.stderr
    return folder, float(done.stdout.split()[-1])


@pytest.mark.parametrize("kills", [pytest.param(6), pytest.param(60, marks=pytest.mark.long)])
def test_killed_again_and_again(tmp_path, straight, kills):
    folder, seconds = straight
    done = python(KILL, tmp_path, kills, seconds / 2)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == kills
    for training in tmp_path.iterdir():
        assert_same(weights(training), weights(folder))
        assert_same(*(load_tensors(f / "best.safetensors")[0] for f in (training, folder)))
        # nothing half-written is left
        assert {p.name for p in training.iterdir()} == {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_hand(tmp_path, straight, wish):
    code = TRAIN + f"""
import signal
class Wish(Callback):
    def __init__(self): self.left = 5
    def after_step(self, trainer):
        self.left -= 1
        if not self.left: signal.raise_signal({int(wish)})
from mst.processes import Stopped
for k in range(2):
    try: make(sys.argv[1], 3, [Wish()] if k == 0 else [])
    except Stopped as stop: print(stop)
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    line, resumed = done.stdout.splitlines()
    assert line == (f"stopped in epoch 2 of 3 after step 2 of 3; {tmp_path / 'last.safetensors'} "
                    "holds epoch 1 and 2 steps of the next: "
                    "the same call goes on there")
    assert resumed == f"resuming {tmp_path} after epoch 1 of 3 and 2 steps"
    assert_same(weights(tmp_path), weights(straight[0]))


def test_a_second_training_waits(tmp_path):
    code = TRAIN + """
net = torch.nn.Linear(1, 1)
begin = time.monotonic()
def loss(net, batch, generator):  # the first trains until the other has come
    ready = Path(sys.argv[1]).parent
    while len(list(ready.glob("ready*"))) < 2 and time.monotonic() < begin + 60: time.sleep(.01)
    time.sleep(.03)
    return {"loss": net(batch[0]).square().mean()}
points = torch.utils.data.TensorDataset(torch.ones(40, 1))
(Path(sys.argv[1]).parent / f"ready{os.getpid()}").touch()
train_in(sys.argv[1], 4, net, loss, torch.optim.SGD(net.parameters(), .01), points, batch_size=2,
         seed=int(sys.argv[2]))
print("done")
"""
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "here"), seed],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            for seed in ("1", "1")]
    said, errors = zip(*(child.communicate(timeout=120) for child in both))
    assert [child.returncode for child in both] == [0, 0], errors
    said = sorted(said)
    assert said[1].endswith("done\n") and "waits for another process" in "".join(said)
    assert len((tmp_path / "here" / "history.csv").read_text().splitlines()) == 5


def on_small_disk(tmp_path, code, megabytes=60):
    """Python `code` with a disk of its own, of a few megabytes, at argv[1]."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, for a disk of its own")
    command = f'mount -t tmpfs -o size={megabytes}m none "$1" && exec "$2" -c "$3" "$1"'
    return run(["unshare", "-rm", "sh", "-c", command, "sh", disk, sys.executable, TRAIN + code],
               OMP_NUM_THREADS="1")


def test_disk_full_for_a_while(tmp_path):
    done = on_small_disk(tmp_path, """
class Filler(Callback):
    def after_epoch(self, trainer):
        filler = Path(sys.argv[1]) / "filler"
        if trainer.epoch == 1:
            with open(filler, "wb") as f:
                try:
                    while True: f.write(bytes(1 << 16)), f.flush()
                except OSError: pass
        if trainer.epoch == 3: filler.unlink()
make(Path(sys.argv[1]) / "training", 5, [Filler()])
from mst.checkpoints import load_tensors
folder = Path(sys.argv[1]) / "training"
best, last = (load_tensors(folder / f"{name}.safetensors")[1] for name in ("best", "last"))
kept = last["callbacks"][-2]["best"]
assert kept == best["metrics"]["valid_loss"], "best is not what was written"
print("has", load_tensors(Path(sys.argv[1]) / "training/last.safetensors")[1]["epoch"])
""")
    assert done.returncode == 0, done.stderr
    *told, last = done.stdout.splitlines()
    assert last == "has 5" and told
    assert all("not written, the disk is full" in line
               and line.endswith("tries again at the next checkpoint") for line in told)


def test_disk_full_for_good(tmp_path):
    done = on_small_disk(tmp_path, """
class Filler(Callback):
    def after_epoch(self, trainer):
        with open(Path(sys.argv[1]) / "filler", "wb") as f:
            try:
                while True: f.write(bytes(1 << 16)), f.flush()
            except OSError: pass
from mst.checkpoints import load_tensors
try: make(Path(sys.argv[1]) / "training", 2, [Filler()])
except OSError as error: print("error:", error)
print("has", load_tensors(Path(sys.argv[1]) / "training/last.safetensors")[1]["epoch"])
""")
    assert done.returncode == 0, done.stderr
    *_, error, last = done.stdout.splitlines()
    assert last == "has 1"
    assert error.startswith("error: ")
    assert "not written, the disk is full; make room" in error


def test_read_only(tmp_path):
    done = on_small_disk(tmp_path, """
import subprocess
net = torch.nn.Linear(1, 1)
points = torch.utils.data.TensorDataset(torch.ones(40, 1))
loss = lambda net, batch, generator: {"loss": net(batch[0]).square().mean()}
sgd = torch.optim.SGD(net.parameters(), .01)
train = lambda name: train_in(Path(sys.argv[1]) / name, 2, net, loss, sgd, points)
train("finished")
weight = net.weight.item()
torch.nn.init.zeros_(net.weight)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
train("finished")
print(net.weight.item() == weight)
try: train("new")
except OSError as error: print("error:", error)
""")
    assert done.returncode == 0, done.stderr
    loaded, error = done.stdout.splitlines()
    assert loaded == "True"  # what is finished can be read
    assert "not written, the disk is read-only; choose another folder" in error


def test_folder_removed_meanwhile(tmp_path, straight):
    done = python(TRAIN + """
import shutil
class Remover(Callback):
    def after_epoch(self, trainer):
        if trainer.epoch == 2: shutil.rmtree(sys.argv[1])
make(sys.argv[1], 3, [Remover()])
""", tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert_same(weights(tmp_path / "here"), weights(straight[0]))
    assert (tmp_path / "here" / "best.safetensors").exists()


def launch(processes, code, *arguments):
    """Python `code` in several processes on this machine, which talk by gloo."""
    script = arguments[0].parent / "script.py"
    script.write_text(code)
    return run([BIN / "torchrun", "--standalone", "--nproc_per_node", processes, script,
                *arguments], OMP_NUM_THREADS="1")


def close(a, b):
    """The largest difference of two sets of tensors, relative to the largest number in them."""
    assert a.keys() == b.keys()
    return max(((a[k].double()
                 - b[k].double()).abs().max() / a[k].double().abs().max().clamp(min=1e-12)).item()
               for k in a if a[k].numel())


def test_two_processes_compute_what_one_does(tmp_path, straight):
    code = TRAIN + "make(sys.argv[1], int(sys.argv[2]), parts=int(sys.argv[3]))"
    two = launch(2, code, tmp_path / "two", 1, 1)
    assert two.returncode == 0, two.stderr
    one = python(code, tmp_path / "one", 1, 2)
    assert one.returncode == 0, one.stderr
    assert close(weights(tmp_path / "two"), weights(tmp_path / "one")) < 1e-4
    rows = [load_tensors(tmp_path / name / "last.safetensors")[1]["metrics"]
            for name in ("two", "one")]
    assert all(abs(rows[0][k] - rows[1][k]) < 1e-4 * abs(rows[1][k])
               for k in ("train_loss", "valid_loss"))
    resumed = python(code, tmp_path / "two", 2, 1)  # with another number of processes
    assert resumed.returncode == 0 and "after epoch 1 of 2" in resumed.stdout, resumed.stderr
    assert load_tensors(tmp_path / "two" / "last.safetensors")[1]["epoch"] == 2


def test_the_command_on_two_machines(tmp_path):
    "As far as one can stand for two: two launchers, of a process each, that meet at an address."
    command = ["-m", "mst.train_ldm", "--preset", "report", "--profile", "smoke", "--device",
               "cpu", "--out", str(tmp_path)]
    meet = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1",
            "--master_port", str(free_port())]
    machines = [subprocess.Popen([BIN / "torchrun", *meet, "--node_rank", rank, *command],
                                 cwd=ROOT, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True,
                                 env=os.environ | {"OMP_NUM_THREADS": "1"}) for rank in "01"]
    said = [machine.communicate(timeout=600)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    trained = load_tensors(tmp_path / "smoke" / "ldm" / "last.safetensors")[1]
    assert trained["epoch"] == 2
    assert len((tmp_path / "smoke" / "ldm" / "history.csv").read_text().splitlines()) == 3
    alone = run([sys.executable, *command], OMP_NUM_THREADS="1")  # it is done: loaded, not repeated
    assert alone.returncode == 0, alone.stderr
    assert load_tensors(tmp_path / "smoke" / "ldm" / "last.safetensors")[1] == trained, alone.stderr


def test_from_a_notebook(tmp_path):
    "By the launcher of notebooks as far as it goes on a CPU, where its name is debug_launcher."
    arguments = ["--preset", "report", "--profile", "smoke", "--device", "cpu", "--out",
                 str(tmp_path)]
    done = python("import sys\nfrom accelerate import PartialState, debug_launcher\nfrom "
                  "mst.train_ldm import main\n"
                  "def work(arguments): assert PartialState(cpu=True).num_processes == 2; "
                  "main(arguments)\n"
                  "debug_launcher(work, (sys.argv[1:],), num_processes=2)", *arguments)
    assert done.returncode == 0, done.stderr
    assert load_tensors(tmp_path / "smoke" / "ldm" / "last.safetensors")[1]["epoch"] == 2


def test_a_training_goes_on_only_with_the_data_that_it_began_with(tmp_path, monkeypatch):
    """As many images as before, with the names of before, are not enough."""
    pixels = np.random.RandomState(0).randint(0, 256, (2, 2, 128, 130), np.uint8)
    for name, images in zip(("harp", "piano"), pixels):
        (tmp_path / "images" / name).mkdir(parents=True)
        for piece, image in zip("ab", images):
            Image.fromarray(image).save(tmp_path / "images" / name / f"{piece}_chunk0.png")
    corpus = Corpus(tmp_path, tmp_path / "images", {"train": ["a"], "val": ["b"]}, [])
    monkeypatch.setattr(autoencoder, "prepare_corpus", lambda run: corpus)
    trial = Run(profile="smoke", device="cpu", out=str(tmp_path / "runs"))
    (_, first), (_, again) = (autoencoder.get_autoencoder(trial) for _ in range(2))
    assert first.rows == again.rows and len(first.rows) == 2
    Image.fromarray(pixels[0, 1]).save(tmp_path / "images" / "harp" / "a_chunk0.png")
    with pytest.raises(ValueError, match=r"or data \(data: .*delete it or choose"):
        autoencoder.get_autoencoder(trial)
