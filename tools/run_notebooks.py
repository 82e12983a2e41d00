"""Run the notebooks through papermill into runs/PROFILE/: `python tools/run_notebooks.py [PROFILE
[PRESET [all]]]`.

The eight chapters, `NN_name.ipynb`, and of the workshops behind them, `NNx_name.ipynb`, those that
measure something for the
report; with `all`, every one. What is up to date is not run again.

A notebook is up to date if its code, the modules it imports, the committed data that these name and
the notebooks run before it
are what they were when its output was written. A hash of these lies in the output's metadata, so
that time stamps do not matter
and an output without its hash cannot exist. Outputs are moved into place when complete: a run that
was killed goes on with the
notebook it was in.
"""
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

PROFILES = ("smoke", "quick", "full")
MEASURES = re.compile(r"\brun\.(save_figure|table|record)\(")


def notebooks(nbs="nbs"):
    """The numbered notebooks, chapters and workshops, in the order in which they are read."""
    return sorted(p for p in Path(nbs).glob("[0-9][0-9]*_*.ipynb")
                  if not p.name.endswith(".part.ipynb"))


def chapters(nbs="nbs"):
    """The notebooks without a letter behind their number."""
    return [p for p in notebooks(nbs) if p.name[2] == "_"]


def code_cells(path):
    """The code cells of a notebook that have code in them, as nbformat's dictionaries."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]


def measuring(nbs="nbs"):
    """The chapters, and the workshops that write a figure, a table or a number."""
    return [p for p in notebooks(nbs) if p.name[2] == "_"
            or any(MEASURES.search("".join(c["source"])) for c in code_cells(p))]


def modules_of(texts, lib="mst"):
    """The text of each module that these texts import, directly or not, by name; nbdev's cell marks
    left out."""
    found, names = {}, [name for text in texts for name in re.findall(rf"\b{lib}\.(\w+)", text)]
    while names:
        path = Path(lib) / f"{(name := names.pop())}.py"
        if name not in found and path.is_file():
            found[name] = re.sub(r"(?m)^# %%.*\n", "", path.read_text(encoding="utf-8"))
            names += re.findall(rf"(?m)^\s*(?:from|import) {lib}\.(\w+)", found[name])
    return [found[name] for name in sorted(found)]


def fingerprint(notebook, before):
    """Hash of all that the output of `notebook` depends on; `before` is the fingerprint of the
    notebook run before it."""
    cells = ["".join(c["source"]) for c in code_cells(notebook)]
    own = Path("mst") / f"{notebook.stem.partition('_')[2]}.py"
    parts = [before, *cells, *modules_of([*cells, f"mst.{own.stem}"])]
    data = [p for pattern in ("*.csv", "pretrained/*.safetensors")
            for p in sorted(Path("data").glob(pattern))
            # that a later one also reads, the one before has named
            if any(p.name in text for text in parts)]
    return hashlib.sha256(b"\0".join([p.encode() for p in parts]
                                     + [p.read_bytes() for p in data])).hexdigest()


def saved_fingerprint(output):
    """The fingerprint in an output's metadata, None where there is no such output."""
    try:
        return json.loads(output.read_text(encoding="utf-8"))["metadata"]["mst"]["fingerprint"]
    except (FileNotFoundError, KeyError, ValueError):
        return None


def check_parameters(notebook):
    """papermill only warns without a cell tagged `parameters`, and then runs with the defaults."""
    n = sum("parameters" in c["metadata"].get("tags", []) for c in code_cells(notebook))
    if n != 1:
        sys.exit(f"{notebook}: {n} cells are tagged `parameters`, there must be exactly one")


def run(notebook, output, profile, preset, mark):
    """Run one notebook; `mark` is its fingerprint."""
    import nbformat
    import papermill

    check_parameters(notebook)
    part = output.with_suffix(".part.ipynb")
    # no number of an older run survives
    (output.parent / "numbers" / f"{notebook.stem}.json").unlink(missing_ok=True)
    output.unlink(missing_ok=True)
    print(f"{notebook.stem}: running", flush=True)
    start = time.monotonic()
    try:
        nb = papermill.execute_notebook(str(notebook), str(part),
                                        parameters={"profile": profile, "preset": preset}, cwd=".",
                                        progress_bar=sys.stderr.isatty(),
                                        extra_arguments=["--log-level=ERROR"])
    except papermill.PapermillExecutionError as e:
        error = re.sub(r"\x1b\[[0-9;]*m", "", f"{e.ename}: {e.evalue}")
        sys.exit(f"{notebook.stem}: code cell [{e.exec_count}] stopped with {error}\n"
                 f"  the cell begins with: {e.source.strip().splitlines()[0]}\n  the notebook up "
                 f"to there: {part}")
    except KeyboardInterrupt:
        sys.exit(f"\n{notebook.stem}: stopped; the same command goes on with it")
    nb.metadata["mst"] = {"fingerprint": mark}
    nbformat.write(nb, part)
    os.replace(part, output)
    print(f"{notebook.stem}: {time.monotonic() - start:.0f} s", flush=True)


def main(profile="quick", preset="mst", which="measuring"):
    if profile not in PROFILES:
        sys.exit(f"profile {profile!r} is not known: use one of {', '.join(PROFILES)}")
    os.chdir(Path(__file__).resolve().parent.parent)
    os.environ.pop("MST_PROFILE", None)  # it would override the parameter
    folder = Path("runs") / profile
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "running.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another run of profile {profile} is at work in {folder}")
        before, fresh = preset, 0
        for notebook in notebooks() if which == "all" else measuring():
            mark, output = fingerprint(notebook, before), folder / notebook.name
            if notebook in measuring():  # nobody depends on what the other workshops write
                before = mark
            if saved_fingerprint(output) == mark:
                fresh += 1
            else:
                run(notebook, output, profile, preset, mark)
    print(f"{folder}: {fresh} notebooks were up to date")


if __name__ == "__main__":
    main(*sys.argv[1:])
