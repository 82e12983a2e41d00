"""Making the images: `build_dataset_folder_structure` against a loop with librosa, one recording
after the other; the same images?"""
import tempfile
from pathlib import Path

import librosa
import measure
import numpy as np
from PIL import Image

from mst.data import prepare_corpus
from mst.images import build_dataset_folder_structure, find_recordings
from mst.run import Run


def librosa_loop(recordings, folder):
    """Load, cut, mel spectrogram, decibels, PNG: as the report describes it."""
    for instrument, paths in recordings.items():
        (folder / instrument).mkdir()
        for path in paths:
            audio, _ = librosa.load(path, sr=22050)
            for k, start in enumerate(range(0, len(audio), 66150)):
                chunk = librosa.util.fix_length(audio[start:start + 66150], size=66150)
                mel = librosa.feature.melspectrogram(
                    y=chunk, sr=22050, n_fft=2048, hop_length=512, n_mels=128
                )
                decibels = np.full_like(mel, -80)
                if mel.max() > 1e-10:
                    decibels = librosa.power_to_db(mel, ref=mel.max(), top_db=80)
                pixels = ((decibels + 80) * (255 / 80) + .5).astype(np.uint8)
                Image.fromarray(pixels).save(folder / instrument / f"{path.stem}_chunk{k}.png")


def images_of(folder):
    """{name: pixels} of all images below a folder."""
    return {str(p.relative_to(folder)): np.asarray(Image.open(p)).astype(int)
            for p in sorted(folder.rglob("*.png"))}


def main(smoke):
    corpus = prepare_corpus(Run(preset="report", profile="smoke" if smoke else "quick"))
    stems = set(corpus.pieces[:2] if smoke else corpus.pieces)
    recordings = find_recordings(corpus.recordings, stems)[0]
    with tempfile.TemporaryDirectory() as folder:
        made = {}

        def fresh(name):
            made[name] = Path(tempfile.mkdtemp(dir=folder))
            return made[name]

        def library():
            build_dataset_folder_structure(corpus.recordings, fresh("library"), trim=False,
                                           balance=False, stems=stems)
        times = measure.interleaved({"librosa": lambda: librosa_loop(recordings, fresh("librosa")),
                                     "library": library}, 1 if smoke else 5)
        ours, theirs = images_of(made["library"]), images_of(made["librosa"])
    assert ours.keys() == theirs.keys()
    apart = [abs(ours[name] - theirs[name]) for name in ours]
    assert max(a.max() for a in apart) <= 1
    same = 100 * np.mean([a.max() == 0 for a in apart])
    ratio = times["librosa"] / times["library"]
    rows = [
        [name, str(len(ours)), f"{len(ours) / t:.0f}", f"{times['librosa'] / t:.2f}"]
        for name, t in times.items()
    ]
    measure.finish(measure.results(smoke), "dataset", ["way", "images", "images/s", "ratio"], rows,
                   bench_dataset_ratio=f"{ratio:.1f}",
                   bench_dataset_images=len(ours), bench_dataset_same=f"{same:.1f}")


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
