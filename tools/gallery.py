"""Build pages to listen and to read: `python tools/gallery.py [PROFILE [FOLDER]]` writes
runs/site/index.html and what it links to.

For each ordered pair of instruments a test piece: the content, the style clip, what the shipped
model makes of them, the twin, and rows of the rulers (notebook 06c) to compare with; and what the
model of preset report makes of them, where the run of this profile has trained one. Then a blind
test (tools/blind.py counts its answers), and the notebooks. All of it opens from disk, without a
server or a network.
"""
import html
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import blind
import latex2mathml.converter
import nbconvert.exporters.html
import nbformat
import numpy as np
import soundfile as sf
import torch
from nbconvert.filters.markdown_mistune import IPythonRenderer
from run_notebooks import notebooks
from sample import sample_row

from mst.audio import AUDIO_PRESETS, AudioPreprocessor, LogMel
from mst.autoencoder import Autoencoder
from mst.run import Run, project_root, shipped_file
from mst.scores import INSTRUMENTS, SCORES, read_scores
from mst.explorer import piece_title, spectrogram
from mst.sound import RATE, STYLES, load_transfer, transfer_sound
from mst.cases import Cases, rendered_recordings
from mst.evaluate import MEASURES, forward_pass, score_sounds, through_images
from mst.ldm import LDM, LDM_PRESETS
from mst.checkpoints import load_tensors
from mst.hearing import SoundJudge
from mst.notes import match_level
from mst.rulers import SECONDS, RulerCase, ceiling_methods, draw_window, plain_methods
from mst.tagger import MusicTagger, name_instruments
from mst.vocoder import Vocoder, load_vocoder

MAX_SITE = 30_000_000
TITLE = "<title>mst: a listening page</title>"
CAPTIONS = {"content": "content, and what copying it would score",
            "style": "style, and what copying it would score",
            "report": "preset report", "mst": "result: output of preset mst",
            "equalised": "equaliser only: the content with the style's mean spectrum",
            "transcribed": "transcribe and render: notes by basic-pitch, played by FluidR3",
            "ceiling": "twin through autoencoder: what is left of the truth",
            "twin": "twin: what was wanted"}
BASELINES = {"equalised": "equaliser only", "transcribed": "transcribe and render",
             "ceiling": "twin through autoencoder"}  # and their names among the rulers
STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem;
       color: #222 }
section { border-top: 1px solid #ccc; margin-top: 1.5rem }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .85rem; min-height: 3em }
img, audio { width: 100%; display: block }
dl { display: grid; grid-template-columns: auto auto; font-size: .85rem; margin: .4rem 0;
     color: #444 }
dd { margin: 0; text-align: right }
.pair { max-width: 45rem } button { font: inherit; padding: .3rem .8rem; margin: .4rem 0 }
"""
INTRODUCTION = """
<p>A test piece for each ordered pair of instruments, by a model that was trained on other pieces.
<em>Content</em>: the recording that is to be played on another instrument. <em>Style</em>: a clip
of that instrument, of another piece. <em>Twin</em>: the same piece, rendered with that instrument;
the model has not heard it. Beside the <em>result</em> stand ways that need no such model, and the
twin, once through the model's autoencoder and vocoder: what these leave of it.</p>
<p>Under each sound stands what is measured: LSD to the twin from audio, in dB (lower is better); F1
of the notes that basic-pitch hears, against the twin's, exactly and folded to one octave; MFCC
distance to the style clip; and the instrument that musicnn hears, a tagger trained by others on
real music (it takes harps for guitars). The style clip, which is shorter than
the piece, is repeated to score it. One piece says little: the report's tables of the test sets have
means over many, and over real recordings.</p>
"""


def report_model(run):
    """The report's model as a method on sound, None where this run has not trained it."""
    weights = run.folder / "ldm" / "best.safetensors"
    if not weights.is_file():
        return None
    ldm = LDM(LDM_PRESETS["report"], Autoencoder(LDM_PRESETS["report"].autoencoder))
    ldm.load_state_dict(load_tensors(weights)[0])
    equations = Vocoder(replace(load_vocoder().config, n_mels=128, max_db=80., width=1, blocks=0,
                                updates=100))
    method = through_images(forward_pass(ldm.eval(), ldm.config.diffusion.num_timesteps // 2,
                                         run.seed), equations.eval())

    def padded(content, style):
        """To a length in frames that is a multiple of 8, and back."""
        def fit(x): return np.pad(x, (0, -(len(x) + 512) % 4096))
        sound = method(*(torch.from_numpy(fit(x))[None]
                         for x in (content, style)))[1][0, :len(content)].numpy()
        return np.pad(sound, (0, len(content) - len(sound)))
    return padded


def examples(run):
    """For each ordered pair of instruments its sounds, {role: [N] at 22 050 Hz}, piece after
    piece; in profile smoke, six seconds of each."""
    report, seconds = report_model(run), run.pick(SECONDS, None, None)
    def load(path): return AudioPreprocessor().load_audio(path)[0][:seconds and seconds * RATE]
    of = {(path.stem, name): path for path, name in rendered_recordings(run, "test", 4).items()}
    pieces = sorted({stem for stem, _ in of})
    players = {name: load_transfer(name, run.device) for name in INSTRUMENTS}
    vocoder, ldm = players["piano"].vocoder, players["piano"].ldm
    methods = plain_methods(vocoder) | ceiling_methods(vocoder, ldm)
    for k, (a, b) in enumerate(permutations(INSTRUMENTS, 2)):
        piece = pieces[k % len(pieces)]
        twin, sounds = load(of[piece, b]), {
            "content": load(of[piece, a]), "style": load(project_root() / STYLES / f"{b}.flac")}
        if report:
            sounds["report"] = report(sounds["content"], sounds["style"])
        sounds["mst"] = transfer_sound(sounds["content"], RATE, players[b])[:, 0]
        case = RulerCase(sounds["content"], sounds["style"], a, b, piece, twin)
        sounds |= {role: methods[name](case) for role, name in BASELINES.items()}
        yield a, b, piece, sounds | {"twin": twin}


def scores(sounds, a, b, piece, judge, tagger):
    """What is measured, {role: {title: text}}."""
    audio, found = AUDIO_PRESETS["mst"], {}
    def fit(x):
        return torch.from_numpy(np.resize(x, len(sounds["twin"])) if len(x) < len(sounds["twin"])
                                else x[:len(sounds["twin"])])[None]
    cases = Cases(fit(sounds["content"]), torch.from_numpy(sounds["style"])[None],
                  fit(sounds["twin"]), [a], [b], [piece], [0])
    for role, sound in sounds.items():
        s = score_sounds(LogMel(audio)(fit(sound)), fit(sound), cases, judge, audio)
        found[role] = {
            title: f"{factor * s[key][0]:.{digits}f}"
            for key, (title, factor, digits) in MEASURES.items()
            if key not in ("lsd_image", "is_target")
        }
        found[role]["heard as"] = name_instruments(tagger([sound]))[0].replace("_", " ")
    return found


def figure(folder, name, role, sound, measured):
    """A sound's picture, player and scores, as HTML; writes the files that it needs."""
    (folder / "sounds").mkdir(exist_ok=True)
    (folder / "sounds" / f"{name}.png").write_bytes(spectrogram(sound, 400, 200))
    sf.write(folder / "sounds" / f"{name}.mp3", sound, RATE, format="MP3")
    lines = "".join(
        f"<dt>{html.escape(title)}</dt><dd>{html.escape(text)}</dd>"
        for title, text in measured.items()
    )
    return (f'<figure><figcaption>{CAPTIONS[role]}</figcaption><img src="sounds/{name}.png" '
            'alt="spectrogram">'
            '<audio controls preload="metadata" '
            f'src="sounds/{name}.mp3"></audio><dl>{lines}</dl></figure>')


def blind_trial(folder, a, b, title, sounds, rng):
    """A question of the blind test: one place of result and twin, equally loud, in files whose
    names say nothing."""
    pair = [sounds["mst"], sounds["twin"]]
    try:
        start = draw_window(pair, rng)
    except ValueError:  # no place at which both are heard all the time
        start = 0
    (folder / "blind").mkdir(exist_ok=True)
    trial = {"pair": f"{a} to {b}".replace("_", " "), "piece": title, "asked": b.replace("_", " ")}
    for role, sound in zip(("result", "twin"), pair):
        clip = match_level(sound[start:start + SECONDS * RATE], np.full(1, .06))
        trial[role] = f"blind/{sha256(clip.tobytes()).hexdigest()[:12]}.mp3"
        sf.write(folder / trial[role], clip, RATE, format="MP3")
    return trial


class MathML(IPythonRenderer):
    """Renders Markdown with formulas that a browser shows by itself."""
    def block_math(self, body): return latex2mathml.converter.convert(body, display="block")
    def inline_math(self, body): return latex2mathml.converter.convert(body)


def page_maker():
    """An exporter of notebooks as HTML: one for all, for its templates take time."""
    nbconvert.exporters.html.IPythonRenderer = MathML
    exporter = nbconvert.exporters.html.HTMLExporter(
        exclude_input_prompt=True, exclude_output_prompt=True
    )
    def as_it_is(text): return text
    exporter.register_filter("clean_html", as_it_is)  # our own: nothing to guard against
    return exporter


def write_page(exporter, notebook, folder):
    """A notebook as {name}.html in `folder`, which asks no network for anything; what all pages say
    of their looks stands beside them once."""
    text, _ = exporter.from_notebook_node(nbformat.read(notebook, 4))
    text = re.sub(r'<script[^>]*src="https?:.*?</script>|<script type="module">.*?</script>', "",
                  text, flags=re.S)
    text = re.sub(r'(href="\w+)\.ipynb(?=["#])', r"\1.html", text)  # one page to another
    head, end, body = text.partition("</head>")
    looks = "\n".join(re.findall(r"<style[^>]*>(.*?)</style>", head, flags=re.S)).encode()
    name = f"{sha256(looks).hexdigest()[:12]}.css"
    (folder / name).write_bytes(looks)
    head = re.sub(r"<style[^>]*>.*?</style>", "", head, flags=re.S)
    link = f'<link rel="stylesheet" href="{name}">'
    (folder / f"{notebook.stem}.html").write_text(head + link + end + body, encoding="utf-8")


def check_site(folder):
    """End if `folder` is there and not empty and not a site of ours: its contents would go."""
    page = folder / "index.html"
    ours = page.is_file() and TITLE in page.read_text(encoding="utf-8", errors="replace")
    if not ours and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"gallery: {folder} is there and was not made by this command; delete it, or name "
                 "a folder that is not there or is empty")


def main(profile="quick", folder="runs/site"):
    run, root = Run.start(profile=profile, notebook="listening page"), project_root()
    check_site(site := (root / folder).resolve())
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=site.parent) as made:
        build_site(run, root, profile, Path(made) / "site")
        if site.exists():
            shutil.rmtree(site)
        os.replace(Path(made) / "site", site)
    size = sum(p.stat().st_size for p in site.rglob("*") if p.is_file())
    print(f"{site.relative_to(root) if site.is_relative_to(root) else site}/index.html: "
          f"{size / 1e6:.1f} MB")
    if size > MAX_SITE:
        sys.exit(f"the pages are too large to be hosted everywhere: {MAX_SITE / 1e6:.0f} MB are "
                 "allowed")


def build_site(run, root, profile, folder):
    """The pages, in a folder that is made."""
    (folder / "notebooks").mkdir(parents=True)
    judge, tagger, parts, trials = SoundJudge(), MusicTagger(), [], []
    titles = {score.piece: piece_title(score.source) for score in read_scores(shipped_file(SCORES))}
    rng = np.random.RandomState(run.seed)
    for a, b, piece, sounds in examples(run):
        measured = scores(sounds, a, b, piece, judge, tagger)
        figures = "".join(
            figure(folder, f"{a}-{b}-{role}", role, sound, measured[role])
            for role, sound in sounds.items()
        )
        name, title = f"{a} to {b}".replace("_", " "), titles.get(piece, piece.replace("_", " "))
        parts.append(f'<section id="{a}-{b}"><h2>{name}</h2><p>{html.escape(title)}</p>'
                     f'<div class="row">{figures}</div></section>')
        trials.append(blind_trial(folder, a, b, title, sounds, rng))
        print(f"{a} to {b}", flush=True)
    if "report" not in sounds:
        parts.insert(0,
                     f"<p>Preset report is left out: the run of profile {profile} has not trained "
                     "it (make report).</p>")
    page = sha256("".join(trial["result"] + trial["twin"] for trial in trials).encode())
    parts.insert(0, blind.blind_test(trials, page.hexdigest()[:12]))
    links, exporter = [], page_maker()
    for notebook in (root / "nbs" / "glossary.ipynb", *notebooks(root / "nbs")):
        write_page(exporter, notebook, folder / "notebooks")
        links.append(f'<a href="notebooks/{notebook.stem}.html">{notebook.stem}</a>')
    (folder / "index.html").write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'{TITLE}<style>{STYLE}</style></head>'
        f'<body><h1>Musical style transfer, to be listened to</h1>{INTRODUCTION}'
        f'{sample_row(root / "sample", folder)}'
        f'<nav>The notebooks: {", ".join(links)}</nav>{"".join(parts)}</body></html>',
        encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
