"""What the report's listings and Table 1 name can be called as they are listed there."""
import http.server
import inspect
import runpy
import shutil
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import ROOT
from PIL import Image

from mst.audio import AudioPreprocessor
from mst.autoencoder import (
    AutoencoderConfig, SpectrogramDecoder, SpectrogramEncoder, load_autoencoder)
from mst.checkpoints import weights_digest
from mst.commands import evaluate_main, train_main
from mst.data import (
    ImageFolderNoSubdirs, SpectrogramDataset, SpectrogramPairDataset, prepare_dataset)
from mst.ddim import DDIM
from mst.download import AudioDownloader
from mst.images import build_dataset_folder_structure
from mst.ldm import CrossAttention, StyleEncoder, UNet, count_parameters, load_ldm
from mst.residual import UNetConfig

SCRIPTS = ("yt_audio_downloader.py", "build_dataset.py")


@pytest.mark.parametrize("called, listed", [
    (AudioDownloader, {"output_path": "downloads", "codec": "mp3"}),
    (AudioDownloader.download_audio, {"youtube_url": ..., "filename": None}),
    (AudioDownloader.download_from_csv, {"csv_file": ...}),
    (AudioPreprocessor.load_audio, {"filepath": ...}),
    (AudioPreprocessor.trim_silence, {"audio": ..., "top_db": None}),  # None: 20
    (AudioPreprocessor.get_mel_spectrogram, {"audio": ..., "sr": None, "n_mels": None}),
    (AudioPreprocessor.mel_spectrogram_to_grayscale_image, {"spectrogram": ..., "max_db": None}),
    (build_dataset_folder_structure, {
        "mp3_dir": "downloads", "output_root": "processed_images", "chunk_size_sec": 3,
        "max_duration": 1800, "n_mels": 128}),
    (SpectrogramDataset, {"config": ...}),
    (ImageFolderNoSubdirs, {"root": ..., "transform": None}),
    (SpectrogramPairDataset, {"root_folder": ..., "pairing_file": ..., "transform": None}),
    (SpectrogramPairDataset.generate_pairings, {
        "root_folder": ..., "output_file_path": "spectrogram_pair_dataset_pairings.csv",
        "num_pairs": 15_000}),
    (prepare_dataset, {"config": ...}),
    (SpectrogramEncoder, {"latent_dim": 4}), (SpectrogramDecoder, {"latent_dim": 4}),
    (StyleEncoder, {"in_channels": 1, "num_filters": 64}),
    (CrossAttention, {"embed_dim": ..., "num_heads": 4}),
    (UNet, {"in_channels": 1, "out_channels": 1, "num_filters": 64}),
    (DDIM, {"schedule": ..., "steps": 50, "eta": 0.})])
def test_names_and_defaults_are_the_listings(called, listed):
    names = dict(inspect.signature(called).parameters)
    names.pop("self", None)
    first = dict(list(names.items())[:len(listed)])
    assert list(first) == list(listed)
    for name, default in listed.items():
        there = first[name].default
        assert there is inspect.Parameter.empty if default is ... else there == default, name


@pytest.mark.parametrize("make, same", [
    (lambda: SpectrogramEncoder(), lambda: SpectrogramEncoder(AutoencoderConfig(latent_dim=4))),
    (lambda: SpectrogramDecoder(latent_dim=8),
     lambda: SpectrogramDecoder(config=AutoencoderConfig(latent_dim=8))),
    (lambda: UNet(32, 32, 64), lambda: UNet(32, 32, config=UNetConfig())),
    (lambda: UNet(4, 2, num_filters=16),
     lambda: UNet(4, 2, UNetConfig(num_filters=16, time_dim=32)))])
def test_listed_arguments_beside_configurations(make, same):
    with torch.device("meta"):
        assert count_parameters(make()) == count_parameters(same())


def test_folders_of_any_images_with_a_transform(tmp_path):
    for instrument, size in (("harp", (9, 5)), ("lute", (7, 3))):
        (tmp_path / instrument).mkdir()
        for name in ("b", "a", ".hidden"):
            Image.new("L", size, ord(name[0])).save(tmp_path / instrument / f"{name}.png")
    images = ImageFolderNoSubdirs(root=tmp_path / "harp", transform=np.asarray)
    assert [x.shape for x, _ in images] == [(5, 9)] * 2 and images[0][0][0, 0] == ord("a")
    SpectrogramPairDataset.generate_pairings(tmp_path, tmp_path / "pairs.csv", num_pairs=9)
    pairs = SpectrogramPairDataset(root_folder=tmp_path, pairing_file=tmp_path / "pairs.csv",
                                   transform=lambda image: image.size)
    sizes = {"harp": (9, 5), "lute": (7, 3)}
    assert len(pairs) == 9
    assert all(size == sizes[label] for pair in pairs for size, label in pair)
    with pytest.raises(ValueError, match="a.png: the image has 5 bands"):
        ImageFolderNoSubdirs(tmp_path / "harp")[0]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the two scripts in `data`, and the address of a server with a recording."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "site"):
        (tmp_path / folder).mkdir()
    for script in SCRIPTS:
        shutil.copy(ROOT / "data" / script, tmp_path / "data" / script)
    tone = .3 * np.sin(2 * np.pi * 440 * np.arange(4 * 22_050) / 22_050)
    sf.write(tmp_path / "site/tone.wav", tone, 22_050)
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def script(name, *options):
    "Exit status of a script of the folder `data`."
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", [name, *options])
        runpy.run_path(f"data/{name}", run_name="__main__")
    return end.value.code


def test_listing_1(project, tmp_path, capsys):
    assert [script(name) for name in SCRIPTS] == [2, 2]
    errors = capsys.readouterr().err
    assert "youtube_urls.csv: no such file" in errors and "downloads: no recordings" in errors
    assert errors.count("\n") == 2
    (tmp_path / "data/youtube_urls.csv").write_text(
        f"instrument,title,url\nharp,solo,{project}/tone.wav\n")
    assert script(SCRIPTS[0]) == 0
    assert (tmp_path / "downloads/harp/solo.mp3").is_file()
    rendered = tmp_path / "data/downloads/harp/tune.flac"  # by a notebook, in a folder of its own
    rendered.parent.mkdir(parents=True)
    rendered.write_bytes(b"what is not asked for is not read")
    assert script(SCRIPTS[1]) == 0
    folder = tmp_path / "processed_images"
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["harp"]
    images = sorted(path.name for path in (folder / "harp").glob("*.png"))
    assert images == ["solo_chunk0.png", "solo_chunk1.png"]
    assert Image.open(folder / "harp" / images[0]).size == (130, 128)
    there = {path.name for path in (tmp_path / "data").rglob("*.*")}
    assert there == {*SCRIPTS, "youtube_urls.csv", "tune.flac"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_listing_1_without_its_environment(name):
    done = subprocess.run([sys.executable, "-I", "-S", ROOT / "data" / name], capture_output=True,
                          text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "make setup" in done.stderr


@pytest.mark.parametrize("arguments, reason", [
    ([], "name a network"), (["vocoder", "--preset", "report"], "the report has no vocoder"),
    (["autoencoder", "--preset", "report", "--autoencoder", "x"], "--autoencoder: this one")])
def test_trainings_of_the_report_that_cannot_be(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert train_main(arguments) == 2
    errors = capsys.readouterr().err
    assert reason in errors and errors.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_presets_as_a_table(capsys):
    assert train_main(["--show"]) == 0
    rows = {line.split("  ")[0]: line.split()[-3:] for line in capsys.readouterr().out.splitlines()}
    assert rows["setting"] == ["report", "mst", "etudes"]
    assert rows["autoencoder: parameters"][0] == "310,049"
    assert rows["autoencoder: training.epochs"][0] == "100"
    assert rows["ldm: training.epochs"][0] == "200"
    assert rows["ldm: training.batch_size"] == ["128", "32", "384"]
    assert rows["ldm: training.learning_rate"][0] == rows["autoencoder: training.learning_rate"][0]
    assert rows["ldm: training.learning_rate"][0] == "5e-05"
    assert train_main(["vocoder", "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("setting", "vocoder: ")) for line in lines) and len(lines) > 9


def test_the_reports_two_trainings(tmp_path, monkeypatch, capsys):
    """In profile smoke, on sound of one's own: the second freezes what the first has learned."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(7 * 22_050) / 22_050
    for pitch, instrument in ((220, "harp"), (330, "oboe")):
        (tmp_path / "mine" / instrument).mkdir(parents=True)
        for k in (1, 2, 3):
            tone = .3 * np.sin(2 * np.pi * pitch * k * time)
            sf.write(tmp_path / "mine" / instrument / f"{k}.flac", tone, 22_050)
    options = ["--preset", "report", "--data", "mine", "--profile", "smoke", "--epochs", "1"]
    assert train_main(["autoencoder", *options]) == 0
    folder = tmp_path / "runs/smoke-mine"
    trained = folder / "report-autoencoder.safetensors"
    assert train_main(["ldm", *options, "--autoencoder", str(trained)]) == 0, capsys.readouterr()
    ldm, autoencoder = load_ldm(folder / "report-ldm.safetensors"), load_autoencoder(trained)
    assert weights_digest(ldm.encoder) == weights_digest(autoencoder.encoder)
    assert weights_digest(ldm.decoder) != weights_digest(autoencoder.decoder)
    assert not (folder / "ldm").exists()  # which is the notebooks'
    options = ["--profile", "smoke", "--out", str(tmp_path / "other")]
    assert train_main(["ldm", "--autoencoder", str(trained), *options]) == 2
    assert evaluate_main(["--ldm", str(folder / "report-ldm.safetensors"), *options]) == 2
    errors = capsys.readouterr().err
    assert "for images of 128 bands" in errors and "a model like the report's" in errors
