"""Run the notebooks through papermill into runs/PROFILE/: `python tools/run_notebooks.py [PROFILE
[PRESET [all]]]`.

The eight chapters, `NN_name.ipynb`, and of the workshops behind them, `NNx_name.ipynb`, those that
measure something for the report; with `all`, every one. What is up to date is not run again.

A notebook is up to date if its code, the modules it imports, the committed data that these name and
the notebooks run before it are what they were when its output was written. A hash of these lies in
the output's metadata, so that time stamps do not matter and an output without its hash cannot
exist. Outputs are moved into place when complete: a run that was killed goes on with the notebook
it was in.
"""
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

PROFILES = {  # and how long all of it usually takes
    "smoke": "ten minutes on two cores", "quick": "an hour or more on two cores",
    "full": "hours on a GPU"}
PATIENCE = 30  # seconds in which a run that was killed is dead
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
            names += re.findall(rf"(?m)^\s*(?:from|import) (?:{lib})?\.(\w+)", found[name])
    return [found[name] for name in sorted(found)]


def fingerprint(notebook, before):
    """Hash of all that the output of `notebook` depends on; `before` is the fingerprint of the
    notebook run before it."""
    cells = ["".join(c["source"]) for c in code_cells(notebook)]
    own = Path("mst") / f"{notebook.stem.partition('_')[2]}.py"
    parts = [before, *cells, *modules_of([*cells, f"mst.{own.stem}"])]
    data = [p for pattern in ("*.csv", "pretrained/*.safetensors", "pretrained/styles/*.flac")
            for p in sorted(Path("data").glob(pattern))
            # that a later one also reads, the one before has named
            if any(p.name in text or f"pretrained/{p.parent.name}" in text for text in parts)]
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


@contextmanager
def quiet(log):
    """Within, what libraries, kernels and decoders write to standard error goes to the file `log`;
    Python still writes there."""
    with open(log, "ab") as file, os.fdopen(os.dup(2), "w") as terminal:
        before, sys.stderr = sys.stderr, terminal
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal.fileno(), 2)
            sys.stderr = before


def run(notebook, output, profile, preset, mark):
    """Run one notebook; `mark` is its fingerprint."""
    import nbformat
    import papermill

    check_parameters(notebook)
    part, log = output.with_suffix(".part.ipynb"), output.parent / "run.log"
    # no number of an older run survives
    (output.parent / "numbers" / f"{notebook.stem}.json").unlink(missing_ok=True)
    output.unlink(missing_ok=True)
    print(f"{notebook.stem:16}", end="", flush=True)
    start = time.monotonic()
    try:
        with quiet(log):
            nb = papermill.execute_notebook(
                str(notebook), str(part), parameters={"profile": profile, "preset": preset},
                cwd=".",
                progress_bar=sys.stderr.isatty(), extra_arguments=["--log-level=ERROR"])
    except papermill.PapermillExecutionError as e:
        error = re.sub(r"\x1b\[[0-9;]*m", "", f"{e.ename}: {e.evalue}")
        sys.exit(f"\n{notebook.stem}: code cell [{e.exec_count}] stopped with {error}\n"
                 f"  the cell begins with: {e.source.strip().splitlines()[0]}\n  the notebook up "
                 f"to there: {part}")
    except KeyboardInterrupt:
        sys.exit(f"\n{notebook.stem}: stopped; the same command goes on with it")
    nb.metadata["mst"] = {"fingerprint": mark}
    nbformat.write(nb, part)
    os.replace(part, output)
    print(f"{time.monotonic() - start:6.0f} s", flush=True)


def end_kernels(pid):
    """End the kernels of a process that did not live to end them: they have sessions of their
    own."""
    for process in psutil.process_iter():
        try:
            if (process.environ().get("JPY_PARENT_PID") == pid and process.ppid() != int(pid)
                    and "ipykernel_launcher" in process.cmdline()):
                process.kill()
                process.wait(PATIENCE)
                print(f"a kernel that a killed run had left was ended (process {process.pid})",
                      flush=True)
        except psutil.Error:  # it has ended by itself, or is somebody else's
            pass


def take(lock, folder):
    """Lock an open file, whose folder somebody else may hold. Who was killed may be some moments in
    dying: wait for it."""
    for k in range(10 * PATIENCE):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if k == 5:
                print(f"{folder} is held by another run; if that was killed, it is gone within "
                      f"{PATIENCE} s", flush=True)
            time.sleep(.1)
    lock.seek(0)
    pid = lock.read() or "unknown"
    sys.exit(f"another run is at work in {folder} (process {pid}): wait until it has ended, or end "
             f"it (kill {pid}), and start the same command again")


@contextmanager
def held(folder):
    """Hold the folder of a run: one at a time. What a killed run has left behind is ended."""
    with open(folder / "running.lock", "a+") as lock:
        take(lock, folder)
        lock.seek(0)
        if pid := lock.read():  # who ends in good order leaves no number
            end_kernels(pid)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def main(profile="quick", preset="mst", which="measuring"):
    if profile not in PROFILES:
        sys.exit(f"profile {profile!r} is not known: use one of {', '.join(PROFILES)}")
    os.chdir(Path(__file__).resolve().parent.parent)
    os.environ.pop("MST_PROFILE", None)  # it would override the parameter
    folder, measured = Path("runs") / profile, measuring()
    chosen = notebooks() if which == "all" else measured
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        (folder / "run.log").unlink(missing_ok=True)
        before, fresh = preset, 0
        for notebook in chosen:
            mark, output = fingerprint(notebook, before), folder / notebook.name
            if notebook in measured:  # nobody depends on what the other workshops write
                before = mark
            if saved_fingerprint(output) == mark:
                fresh += 1
                continue
            if fresh == chosen.index(notebook):  # the first to be run
                print(f"{folder}: {len(chosen) - fresh} of {len(chosen)} notebooks; all of it "
                      f"usually takes {PROFILES[profile]}")
            run(notebook, output, profile, preset, mark)
    print(f"{folder}: {fresh} of {len(chosen)} notebooks were up to date")


if __name__ == "__main__":
    main(*sys.argv[1:])
