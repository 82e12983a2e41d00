"""The committed notebooks: their form, their outputs, and the order in which their modules import
each other."""
import ast
import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from publish import MAX_NOTEBOOK, MAX_PICTURE, PROGRESS, WIDGET
from run_notebooks import chapters, notebooks

CHAPTERS = ["00_data", "01_training", "02_autoencoder", "03_vocoder", "04_ldm", "05_train_ldm",
            "06_evaluate", "07_ddim"]
WITHOUT_MODULE = ["07d_answers"]  # they export nothing
PARAMETERS = ["preset", "profile", "device", "seed", "out", "data"]
# /one/two, but neither a URL nor a relative path, nor what a Debian has
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/<>~*)}\]$\\-])/(?!usr/|dev/)[A-Za-z][\w.-]*/[\w.-]+")
every_notebook = pytest.mark.parametrize("path", notebooks(ROOT / "nbs"), ids=lambda p: p.stem)


def read(path):
    nb = nbformat.read(path, as_version=4)
    return nb, [c for c in nb.cells if c.cell_type == "code"]


def default_exp(path):
    return re.findall(r"(?m)^#\|\s*default_exp\s+(\S+)", "\n".join(c.source for c in read(path)[1]))


def test_all_eight_are_there():
    assert [p.stem for p in chapters(ROOT / "nbs")] == CHAPTERS
    assert all(any(p.name[:2] == chapter[:2] for chapter in CHAPTERS)
               for p in notebooks(ROOT / "nbs"))


@every_notebook
def test_form(path):
    nb, code = read(path)
    assert (nb.metadata.kernelspec.name, nb.metadata.kernelspec.language) == ("python3", "python")
    module = [] if path.stem in WITHOUT_MODULE else [path.stem.partition("_")[2]]
    assert default_exp(path) == module
    assert nb.cells[0].source.startswith("# ") and "\n> " in "\n".join(c.source
                                                                       for c in nb.cells[:2])
    for cell in code:
        assert len(cell.source.splitlines()) <= 40, cell.source[:200]
        assert "import *" not in cell.source
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", "\n".join(c.source for c in nb.cells))


@every_notebook
def test_parameters(path):
    """One tagged cell (nbdev_clean strips tags unless told not to), plain `name = value` lines, the
    same six names."""
    code = read(path)[1]
    tagged = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assigned = ast.parse(tagged[0].source).body
    assert all(isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant)
               for s in assigned), tagged[0].source
    assert [s.targets[0].id for s in assigned] == PARAMETERS
    starts = [c.source for c in code if "run = Run.start(" in c.source]
    assert len(starts) == 1 and f'notebook="{path.stem}"' in starts[0]


@every_notebook
def test_outputs(path):
    """Outputs are committed, and read well without running: no errors, progress bars, sound, big
    pictures."""
    outputs = [o for c in read(path)[1] for o in c.outputs]
    assert outputs, "no outputs: make publish"
    assert path.stat().st_size <= MAX_NOTEBOOK
    for o in outputs:
        assert o.output_type != "error", o.get("evalue")
        assert o.get("name") != "stderr", o.text
        data = o.get("data", {"text/plain": o.get("text", "")})
        assert WIDGET not in data and not PROGRESS.search(data.get("text/plain", ""))
        assert not any(mime.startswith(("audio/", "video/"))
                       for mime in data) and "data:audio" not in str(data)
        assert len(data.get("image/png", "")) * 3 // 4 <= MAX_PICTURE


@every_notebook
def test_no_machine_paths(path):
    nb, code = read(path)
    texts = [c.source for c in nb.cells]
    for o in (o for c in code for o in c.outputs):
        texts += [o.get("text", "")] + [
            t for mime, t in o.get("data", {}).items() if mime.startswith("text/")
        ]
    text = re.sub(r"https?://\S+", "", "\n".join(texts))
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text
    assert not ABSOLUTE_PATH.findall(text)


@pytest.mark.parametrize("text, found", [
    ("saved to /home/me/x.wav", True), ("in /tmp/ipykernel_1/2.py", True), ("'/srv/a/b'", True),
    ("http://127.0.0.1/a/b", False), ("runs/quick/figures", False), ("../data/x.csv", False),
    ("$T/8$ and 1/2/3", False),
    ("/usr/share/sounds/sf2/FluidR3_GM.sf2", False), ("`{instrument}/{title}/x`", False),
    ("content/style", False)])
def test_absolute_path_pattern(text, found):
    assert bool(ABSOLUTE_PATH.search(text)) == found


def imported_modules(source):
    """Names of the modules of mst that a module imports, absolutely or relatively."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("mst."))
        elif isinstance(node, ast.ImportFrom) and (node.level == 1
                                                   or (node.module or "").split(".")[0] == "mst"):
            name = (node.module or "").removeprefix("mst").lstrip(".")
            yield from [name.split(".")[0]] if name else [a.name for a in node.names]


def test_modules_import_only_what_stands_above_them():
    """No module imports from a later number, and within a number there is no circle."""
    numbers = {p.stem.partition("_")[2]: p.stem[:2] for p in notebooks(ROOT / "nbs")
               if p.stem not in WITHOUT_MODULE}
    assert set(numbers) == {p.stem for p in (ROOT / "mst").glob("[!_]*.py")}
    imports = {name: set(imported_modules((ROOT / f"mst/{name}.py").read_text(encoding="utf-8")))
               for name in numbers}
    for name, others in imports.items():
        for other in others:
            assert numbers[other] <= numbers[name], f"{name} imports {other}"
    TopologicalSorter(imports).prepare()  # CycleError names them


def test_shown_cells_import_only_what_stands_above_them():
    """A workshop may show its parts on what others of its chapter make."""
    numbers = {p.stem.partition("_")[2]: p.stem[:2] for p in notebooks(ROOT / "nbs")}
    for path in notebooks(ROOT / "nbs"):
        for cell in read(path)[1]:
            for other in imported_modules(re.sub(r"(?m)^\s*[%!].*$", "", cell.source)):
                assert numbers[other] <= path.stem[:2], f"{path.stem} imports {other}"


def test_json_is_as_nbdev_writes_it():
    for path in notebooks(ROOT / "nbs"):
        text = path.read_text(encoding="utf-8")
        assert text.endswith("}\n") and json.loads(text)["nbformat"] == 4
