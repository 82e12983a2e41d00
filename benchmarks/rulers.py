"""The release: the shipped model on the test sets of the rulers, beside what needs no model and
what a perfect one would reach. It opens the test sets, so nothing may be chosen by what it says.

Wants the folder that MST_CORPUS names, as `mst_download data/recordings.csv` fills it. The report
reads the table, when it was made and by which weights. Stopped, it goes on after the sets that it
has finished, as long as code, weights and recordings stay the same.
"""
import hashlib
import json
import os
from datetime import date

import librosa
import measure

from mst.adapt import Adaptation
from mst.commands import evaluate_sets, model_methods
from mst.files import atomic_path
from mst.ldm import load_ldm
from mst.recordings import (
    aligned_notes, read_recordings, select_recordings, share_heard)
from mst.rulers import PRINTED, ceiling_methods, plain_methods, ruler_header
from mst.run import Run, print_table, project_root, shipped_file
from mst.sets import RECORDINGS
from mst.sound import describe_playing
from mst.texture import load_texture
from mst.vocoder import load_vocoder


def alignment_rows(folder):
    """Of every aligned test recording, the share of its notes that are heard where they should be,
    and half a second later."""
    rows = []
    for row in select_recordings(read_recordings(shipped_file(RECORDINGS)), "performance", "test"):
        notes = aligned_notes(folder, row) if (folder / row.path).is_file() else None
        if notes:
            sound, _ = librosa.load(folder / row.path, sr=22_050)
            shares = share_heard(sound, notes, (0., .5))
            rows.append((row.title, *(f"{100 * share:.0f}" for share in shares)))
    return rows


def digest_of(folder):
    """Of what results depend on, eight hexadecimal digits: the package's code, the tables it reads,
    weights, judges that ship, style clips, and names and sizes of what `folder`, of recordings,
    holds. Soundfonts and installed packages are not among it."""
    digest, root = hashlib.sha256(), project_root()
    for pattern in ("mst/*.py", "data/*.csv", "data/pretrained/*.safetensors",
                    "data/pretrained/styles/*.flac"):
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    for parent, _, names in sorted(os.walk(folder, followlinks=True)) if folder else ():
        for name in sorted(names):
            if os.path.exists(path := os.path.join(parent, name)):  # a link may lead nowhere
                place = os.path.relpath(path, folder)
                digest.update(f"{place} {os.stat(path).st_size}".encode())
    return digest.hexdigest()[:8]


def read_finished(path, what):
    "By name, the sets that a release finished before it was stopped, if it was one of just this."
    kept = json.loads(path.read_text()) if path.is_file() else {}
    return kept["sets"] if kept.get("of") == what else {}


def main(smoke):
    run = Run(profile="smoke" if smoke else "full")
    folder = measure.recordings("rulers", "test", smoke)
    ldm, vocoder = load_ldm(), load_vocoder()
    texture = load_texture(ldm=ldm)
    methods = plain_methods(vocoder) | model_methods(
        ldm, vocoder, texture, Adaptation(2) if smoke else Adaptation(), seed=run.seed)
    results = measure.results(smoke)
    playing = describe_playing(ldm, vocoder, texture)
    path, what = run.folder / "release.json", f"{playing}, {digest_of(folder)}"
    finished = read_finished(path, what)
    def keep(*_):
        with atomic_path(path) as part:
            part.write_text(json.dumps({"of": what, "sets": finished}))
    rows, printed, numbers = evaluate_sets(
        run, "test", folder, methods | ceiling_methods(vocoder, ldm), keep, finished)
    if not smoke:
        print_table(("aligned recording", "heard (%)", "half a second later"),
                    alignment_rows(folder))
    results.table("rulers_test_all", ruler_header(), rows)
    measure.forget(results, "rulers_test_")  # of a set or a cell that is there no longer
    measure.finish(results, "rulers_test", ruler_header(PRINTED), printed, **numbers,
                   rulers_test_opened=str(date.today()),
                   rulers_test_playing=playing)
    path.unlink()
    key = "rulers_test_{}_{}_{}".format
    for name in ("rendered", "real_players"):
        pair = [numbers.get(key(name, method, "onset_f1")) for method in
                ("mst", "transcribe_and_render")]
        if all(pair):
            print(f"{name}: notes of mst, as a ratio to transcribing and rendering: "
                  f"{float(pair[0]) / float(pair[1]):.2f}")


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
