"""The ear from outside: read without musicnn being imported, kept away from all that trains or
chooses, and honest about bad files."""
import ast
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from mst.tagger import INSTRUMENT_TAGS, TAGS, MusicTagger, read_checkpoint, tagger_folder

MEASURES = {"rulers", "sets", "commands"}  # modules that may hear with it


def imports_of(path):
    """Names that a file imports, modules of mst without their package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("mst.") for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.removeprefix("mst.")


def test_nothing_that_trains_or_chooses_hears_with_it():
    modules = {p.stem: set(imports_of(p)) for p in (ROOT / "mst").glob("[!_]*.py")}
    hearing = {name for name, others in modules.items() if others & {"tagger", "rulers"}}
    assert hearing == MEASURES, "an ear that is trained for is no ear from outside"
    assert not {*imports_of(ROOT / "tools/train_shipped.py")} & {"tagger", *MEASURES}
    for path in (ROOT / "benchmarks").glob("*.py"):  # what measures there ships nothing
        text = path.read_text(encoding="utf-8")
        assert not {*imports_of(path)} & {"tagger", *MEASURES} or "save_" not in text, path


def test_the_commands_hear_with_it_only_to_evaluate():
    tree = ast.parse((ROOT / "mst/commands.py").read_text(encoding="utf-8"))
    users = {f.name for f in tree.body if isinstance(f, ast.FunctionDef)
             for name in ast.walk(f) if isinstance(name, ast.Name) and name.id == "MusicTagger"}
    assert users == {"evaluate_sets"}


def test_musicnn_is_never_imported():
    code = ("import sys; from mst.tagger import MusicTagger; MusicTagger();"
            "print({m.split('.')[0] for m in sys.modules} & {'musicnn', 'tensorflow'})")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
    files = [*(ROOT / "mst").glob("*.py"), *(ROOT / "tools").glob("*.py")]
    assert not any(re.search(r"^\s*(import|from) musicnn", p.read_text(), re.M) for p in files)


def test_tags_are_known():
    assert {tag for tags in INSTRUMENT_TAGS.values() for tag in tags} <= set(TAGS)


@pytest.mark.parametrize("rate", [.5, 3.2, 10])
def test_any_length_is_heard(rate):
    sound = np.random.RandomState(0).randn(round(rate * 22050)).astype(np.float32)
    tags, vectors = MusicTagger().listen([sound])
    assert tags.shape == (1, 50) and vectors.shape == (1, 200)
    assert np.isfinite(vectors).all() and 0 <= tags.min() and tags.max() <= 1


def test_silence_is_heard_as_something():
    assert np.isfinite(MusicTagger()([np.zeros(70_000, np.float32)])).all()


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / ".index").write_bytes(b"x" * 100)
    (tmp_path / ".data-00000-of-00001").write_bytes(b"")
    with pytest.raises(ValueError, match="no table of a TensorFlow checkpoint"):
        read_checkpoint(tmp_path)


def test_a_checkpoint_cut_short(tmp_path):
    for name in (".index", ".data-00000-of-00001"):
        (tmp_path / name).write_bytes((tagger_folder() / name).read_bytes())
    with open(tmp_path / ".data-00000-of-00001", "r+b") as f:
        f.truncate(1_000_000)
    with pytest.raises(ValueError, match="end too early"):
        read_checkpoint(tmp_path)


def test_numbers_are_those_of_the_file():
    data = (tagger_folder() / ".data-00000-of-00001").read_bytes()
    bias = read_checkpoint(tagger_folder())["dense_1/bias"]
    assert len(bias) == 50 and struct.pack("<50f", *bias) in data
