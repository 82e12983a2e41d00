"""Make the sample to hear, sample/{content,style,result,twin}.ogg: `python tools/sample.py`, after
the weights have changed (`make publish` does it). Clips of these weights are kept: to have them
anew, delete them first.

The first ten seconds of a *validation* piece, rendered: the guitar (content), the violin clip that
ships (style), what the shipped weights make of both (result), and the same piece by the violin
(twin). Each file's comment says by which weights it was made.
"""
import hashlib
import html
import shutil
import sys
from functools import cache

import soundfile as sf

from mst.audio import AudioPreprocessor
from mst.files import atomic_path
from mst.ldm import load_ldm
from mst.run import project_root, shipped_file
from mst.scores import SCORES
from mst.sound import RATE, STYLES, describe_playing, load_transfer, transfer_sound
from mst.takes import read_recipe, render_corpus
from mst.texture import load_texture
from mst.vocoder import load_vocoder

ROLES = {"content": "content: a piece on the guitar", "style": "style: a clip of a violin",
         "result": "result, by the shipped weights", "twin": "twin: the piece on the violin"}
PIECE, CONTENT, STYLE, SECONDS = "haydn_opus74no1_movement3", "acoustic_guitar", "violin", 10
MAX_CLIP = 100_000


@cache
def weights_mark():
    """What the clips depend on, as text: weights and numbers of the playing, and the style clip."""
    ldm = load_ldm()
    playing = describe_playing(ldm, load_vocoder(), load_texture(ldm=ldm))
    clip = shipped_file(f"{STYLES}/{STYLE}.flac").read_bytes()
    return f"{playing}, style clip {hashlib.sha256(clip).hexdigest()[:8]}"


def render_sounds():
    """{role: sound [N] at 22 050 Hz} of the sample, without the result."""
    folder = project_root() / "data" / "downloads"
    content, twin = render_corpus(shipped_file(SCORES), folder, (CONTENT, STYLE), [PIECE])
    paths = {"content": content, "style": shipped_file(f"{STYLES}/{STYLE}.flac"), "twin": twin}
    return {role: AudioPreprocessor().load_audio(path)[0][:SECONDS * RATE]
            for role, path in paths.items()}


def play(content):
    """The content [N] in the sample's style."""
    return transfer_sound(content, RATE, load_transfer(STYLE))[:, 0]


def write_clip(path, sound, comment):
    """Write sound [N] as Ogg Vorbis. ValueError if the file is too large for a repository."""
    with atomic_path(path) as part:
        with sf.SoundFile(part, "w", RATE, 1, "VORBIS", format="OGG") as f:
            f.comment = comment
            for start in range(0, len(sound), RATE):  # of a long block, libsndfile may crash
                f.write(sound[start:start + RATE])
        if part.stat().st_size > MAX_CLIP:
            raise ValueError(f"{path}: {part.stat().st_size // 1000} KB, {MAX_CLIP // 1000} are "
                             "allowed")


def sample_row(folder, site):
    """Copy the clips to the folder of a site; HTML that plays them there."""
    shutil.copytree(folder, site / "sample", dirs_exist_ok=True)
    return '<div class="row" id="sample">' + "".join(
        f"<figure><figcaption>{html.escape(text)}</figcaption>"
        f'<audio controls preload="metadata" src="sample/{role}.ogg"></audio></figure>'
        for role, text in ROLES.items()) + "</div>"


def main(folder="sample"):
    folder, mark = project_root() / folder, weights_mark()
    if all(read_recipe(folder / f"{role}.ogg") == mark for role in ROLES):
        return print(f"{folder.name}: made by these weights")
    sounds = render_sounds()
    sounds["result"] = play(sounds["content"])
    for role in ROLES:
        write_clip(folder / f"{role}.ogg", sounds[role], mark)
        print(f"{role}.ogg: {len(sounds[role]) / RATE:.0f} s, "
              f"{(folder / f'{role}.ogg').stat().st_size // 1000} KB")


if __name__ == "__main__":
    main(*sys.argv[1:])
