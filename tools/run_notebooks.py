"""Run nbs/NN_*.ipynb in order through papermill into runs/PROFILE/: `python tools/run_notebooks.py [PROFILE [PRESET]]`.

What is up to date is not run again.

A notebook is up to date if its code, the modules it may import, the committed data that these name and the notebooks
before it are what they were when its output was written. A hash of these lies in the output's metadata, so that time stamps do not
matter and an output without its hash cannot exist. Outputs are moved into place when complete: a run that was killed
goes on with the notebook it was in.
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


def notebooks(nbs="nbs"):
    """The numbered notebooks, in order."""
    return sorted(p for p in Path(nbs).glob("[0-9][0-9]_*.ipynb") if not p.name.endswith(".part.ipynb"))


def code_cells(path):
    """The code cells of a notebook that have code in them, as nbformat's dictionaries."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]


def modules_of(notebook, lib="mst"):
    """The text of each module that comes from a notebook, by its path in the module; nbdev's cell marks left out."""
    texts = [p.read_text(encoding="utf-8") for p in sorted(Path(lib).glob("[!_]*.py"))]
    return [re.sub(r"(?m)^# %%.*\n", "", t) for t in texts if f"nbs/{notebook.name}" in t]


def fingerprint(notebook, before):
    """Hash of all that the output of `notebook` depends on; `before` is the fingerprint of the notebook before it."""
    parts = [before, *("".join(c["source"]) for c in code_cells(notebook)), *modules_of(notebook)]
    data = [p for pattern in ("*.csv", "pretrained/*.safetensors") for p in sorted(Path("data").glob(pattern))
            if any(p.name in text for text in parts)]  # that a later one also reads, the one before has named
    return hashlib.sha256(b"\0".join([p.encode() for p in parts] + [p.read_bytes() for p in data])).hexdigest()


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
    (output.parent / "numbers" / f"{notebook.stem}.json").unlink(missing_ok=True)  # no number of an older run survives
    output.unlink(missing_ok=True)
    print(f"{notebook.stem}: running", flush=True)
    start = time.monotonic()
    try:
        nb = papermill.execute_notebook(str(notebook), str(part), parameters={"profile": profile, "preset": preset}, cwd=".",
                                        progress_bar=sys.stderr.isatty(), extra_arguments=["--log-level=ERROR"])
    except papermill.PapermillExecutionError as e:
        error = re.sub(r"\x1b\[[0-9;]*m", "", f"{e.ename}: {e.evalue}")
        sys.exit(f"{notebook.stem}: code cell [{e.exec_count}] stopped with {error}\n"
                 f"  the cell begins with: {e.source.strip().splitlines()[0]}\n  the notebook up to there: {part}")
    except KeyboardInterrupt:
        sys.exit(f"\n{notebook.stem}: stopped; the same command goes on with it")
    nb.metadata["mst"] = {"fingerprint": mark}
    nbformat.write(nb, part)
    os.replace(part, output)
    print(f"{notebook.stem}: {time.monotonic() - start:.0f} s", flush=True)


def main(profile="quick", preset="mst"):
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
        mark, fresh = preset, 0
        for notebook in notebooks():
            mark, output = fingerprint(notebook, mark), folder / notebook.name
            if saved_fingerprint(output) == mark:
                fresh += 1
            else:
                run(notebook, output, profile, preset, mark)
    print(f"{folder}: {fresh} notebooks were up to date")


if __name__ == "__main__":
    main(*sys.argv[1:])
