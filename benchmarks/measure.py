"""What the benchmarks share: options, interleaved timing, a description of the machine, and where
results go."""
import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

os.environ["TQDM_DISABLE"] = "1"  # tables only, no progress

from mst.files import atomic_path
from mst.recordings import corpus_folder
from mst.run import Run, print_table


def options(doc):
    """Of a benchmark: `--smoke` is a trial of seconds, whose results are thrown away."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a trial of seconds; nothing is kept")
    return parser.parse_args()


def recordings(name, sets, smoke):
    """The folder of recordings, which a benchmark on such sets stops without; None for a trial."""
    folder = None if smoke else corpus_folder()
    if not folder and not smoke:
        sys.exit(f"{name}: the {sets} sets need real recordings: name their folder, "
                 "MST_CORPUS=FOLDER (mst_download data/recordings.csv -o FOLDER fetches it)")
    return folder


def results(smoke):
    """A `Run` whose tables, figures and numbers report/collect.py finds: report/benchmarks."""
    return Run(profile="benchmarks", out=tempfile.mkdtemp() if smoke else "report",
               notebook="benchmarks")


def machine(device="cpu"):
    """Processor, or GPU where that was the device, cores in use, torch and date, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "")
    processor = name[1] if name else platform.processor()
    if torch.device(device).type == "cuda":
        processor = torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    cores = f"{threads} thread{'s' * (threads > 1)}"
    return f"{processor}, {cores}, torch {torch.__version__}, {date.today()}"


def seconds(function, *args):
    """How long a call takes."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def interleaved(functions, repeats):
    """{name: median seconds} of functions without arguments, all in every round, so that a slow
    minute slows all. One round warms up."""
    rounds = [{name: seconds(f) for name, f in functions.items()} for _ in range(repeats + 1)][1:]
    return {name: statistics.median(r[name] for r in rounds) for name in functions}


def forget(run, prefix):
    """Drop the numbers of an earlier time whose names begin so."""
    path = run.folder / "numbers" / f"{run.notebook}.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    kept = {name: value for name, value in kept.items() if not name.startswith(prefix)}
    with atomic_path(path) as part:
        part.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def finish(run, name, header, rows, figure=None, device="cpu", **numbers):
    """Print a table and keep it, with the machine and a figure, for the report."""
    if figure:
        run.save_figure(figure, name)
    print(machine(device))
    print_table(header, rows)
    run.table(f"bench_{name}", header, rows)
    run.record(**numbers, **{f"bench_{name}_machine": machine(device)})
