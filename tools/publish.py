"""Bring what a run made to what is committed: `python tools/publish.py PROFILE`, then nbdev_clean.

The outputs of all notebooks go into nbs/, the release's table into README.md and our rows of it
onto the model card, the figures that the report includes and the README shows into figures/, and
tables, numbers and the PDF into report/.

Of outputs, only what reads well without running is kept: no progress bars, warnings, widgets or
paths of this machine. Refuses an output whose code is not the notebook's, an error, a picture over
100 KB, a notebook over 1.5 MB.
"""
import base64
import csv
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import yaml
from PIL import Image
from run_notebooks import notebooks

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "report"))
from collect import used, write

MAX_PICTURE, MAX_NOTEBOOK = 100_000, 1_500_000
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\d+%\|.*\|.*\d+/\d+|\d+it \[")


def clean_text(text):
    """Text as a terminal would leave it, without progress bars and paths of this machine."""
    lines = [line.rpartition("\r")[2]
             for line in text.replace("\r\n", "\n").splitlines(keepends=True)]
    text = (
        "".join(x for x in lines if not PROGRESS.search(x))
        .replace(f"{ROOT}/", "")
        .replace(str(ROOT), ".")
    )
    return re.sub(re.escape(tempfile.gettempdir()) + r"/[^/\s]+/", "", text)


def smaller_picture(png):
    """A picture (base64) as it is, or in 256 colours where it is too large; still too large is an
    error."""
    data = base64.b64decode(png)
    if len(data) > MAX_PICTURE:
        part = io.BytesIO()
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(part, "PNG", optimize=True)
        data = part.getvalue()
    if len(data) > MAX_PICTURE:
        raise ValueError(f"holds a picture of {len(data) // 1000} KB, {MAX_PICTURE // 1000} KB are "
                         "allowed")
    return base64.b64encode(data).decode()


def clean_output(output):
    """One output, cleaned; None if nothing of it is to be kept."""
    output.pop("execution_count", None)
    if output.output_type == "execute_result":
        output["execution_count"] = None
    if output.output_type == "stream":
        output.text = clean_text(output.text)
        return output if output.name == "stdout" and output.text.strip() else None
    if output.output_type == "error":
        raise ValueError(f"holds an error: {output.ename}: {output.evalue}")
    if WIDGET in output.data or PROGRESS.search(output.data.get("text/plain", "")):
        return None
    if any(mime.startswith("audio/")
           for mime in output.data) or "data:audio" in output.data.get("text/html", ""):
        raise ValueError("holds embedded sound")
    if "image/png" in output.data:
        output.data["image/png"] = smaller_picture(output.data["image/png"])
    output.data.update({m: clean_text(t) for m, t in output.data.items() if m.startswith("text/")})
    output.metadata = {}
    return output


def publish(notebook, executed):
    """Put the cleaned outputs of the notebook file `executed` into the notebook file `notebook`."""
    nb, done = (nbformat.read(p, as_version=4) for p in (notebook, executed))
    code = [c for c in nb.cells if c.cell_type == "code"]
    ran = [c for c in done.cells if c.cell_type == "code"
           and "injected-parameters" not in c.metadata.get("tags", [])]
    if [c.source for c in code] != [c.source for c in ran]:
        raise ValueError("is not the notebook that ran: make report first")
    for cell, other in zip(code, ran):
        cell.outputs = [o for o in map(clean_output, other.outputs) if o is not None]
    text = nbformat.writes(nb) + "\n"
    if len(text.encode()) > MAX_NOTEBOOK:
        raise ValueError(f"would have {len(text.encode()) / 1e6:.1f} MB, {MAX_NOTEBOOK / 1e6} MB "
                         "are allowed")
    part = notebook.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, notebook)


def markdown_table(rows, texts):
    """Rows, the header first, as Markdown; the first so many columns hold texts, the others
    numbers."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * texts + "---:|" * (len(rows[0]) - texts))
    return "\n".join(lines)


def release_rows():
    """The table of the test sets, as the release command left it, the header first."""
    path = ROOT / "report" / "benchmarks" / "tables" / "bench_rulers_test.csv"
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


SHORT_METHODS = "transcribe and render", "mst", "twin", "Universal Network", "DiffTransfer"
SHORT_COLUMNS = ("set", "method", "heard as asked (%)", "into the violin (%)", "notes as asked",
                 "own nearest (%)", "notes", "LSD")


def short_table(rows):
    """Of the rows of a table, the header first, what the README shows: the copied content only
    where there are no twins, each set's name once."""
    header, *rows = rows
    columns, short, name, shown = [header.index(c) for c in SHORT_COLUMNS], [], "", ""
    for row in rows:
        name = row[0] or name
        copied = row[1] == "copy content" and row[header.index("LSD")] == "-"
        if row[1] in SHORT_METHODS or copied:
            short.append(["" if name == shown else name, *(row[k] for k in columns[1:])])
            shown = name
    return [SHORT_COLUMNS, *short]


def results():
    """The table of the test sets in Markdown, in short, with a line that says when it was made."""
    path = ROOT / "report" / "benchmarks" / "numbers" / "benchmarks.json"
    numbers = json.loads(path.read_text(encoding="utf-8"))
    title = (f"Test sets, opened by `make release` on {numbers['rulers_test_opened']} (seed 0; "
             f"{numbers['bench_rulers_test_machine']}):")
    return f"{title}\n\n{markdown_table(short_table(release_rows()), 2)}"


def put_results(text, table):
    """Text with the table between its two marks."""
    return re.sub(r"(<!-- results -->\n).*(<!-- /results -->)",
                  lambda m: f"{m[1]}{table}\n\n{m[2]}", text, flags=re.S)


CARD = "data/pretrained/README.md"
CARD_COLUMNS = {  # of the release's table, and what model hubs call such a metric
    "heard as asked (%)": "accuracy", "notes as asked": "f1", "notes": "f1", "LSD": "lsd"}


def shipped_scores():
    """{test set: {column: text}} of the model that ships."""
    header, *rows = release_rows()
    scores, name = {}, ""
    for row in rows:
        name = row[0] or name  # written once for all its rows
        if row[1] == "mst":
            scores[name] = {column: row[header.index(column)] for column in CARD_COLUMNS}
    return scores


def model_index(scores):
    """The scores as model hubs read them."""
    def metrics(texts):
        return [{"type": CARD_COLUMNS[column], "name": column, "value": float(text.split()[0])}
                for column, text in texts.items() if text != "-"]
    return [{"name": "mst", "results": [
        {"task": {"type": "audio-to-audio", "name": "instrument transfer"},
         "dataset": {"type": "test-set", "name": name, "split": "test"}, "metrics": found}
        for name, texts in scores.items() if (found := metrics(texts))]}]


def model_card(text):
    """The model card's text with the scores, in its front matter and between its marks."""
    scores = shipped_scores()
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front) | {"model-index": model_index(scores)}
    table = [("test set", *CARD_COLUMNS), *((name, *row.values()) for name, row in scores.items())]
    return (f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n"
            f"{put_results(body, markdown_table(table, 1))}")


def publish_results():
    """Put the table into README.md, and our rows of it onto the model card."""
    readme, card = (Path(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", CARD))
    write(ROOT / "README.md", put_results(readme, results()).encode())
    write(ROOT / CARD, model_card(card).encode())


def publish_files(profile, root=ROOT):
    """Make figures/ and report/ hold what the report of this run uses, and nothing else of a
    run."""
    run, report = root / "runs" / profile, root / "report"
    names = used(report / "main.tex")
    shown = re.findall(r"\]\((figures/\w+\.png)\)",
                       (root / "README.md").read_text(encoding="utf-8"))
    files = {f"figures/{name}.pdf" for kind, name in names if kind == "figure"} | set(shown)
    files |= {f"report/{name}.tex" for kind, name in names if kind == "table"}
    files = {name: run / name.removeprefix("report/") for name in files}
    # report/benchmarks has the rest
    files = {name: path for name, path in files.items() if path.exists()}
    files |= {f"report/{name}": run / "report" / name for name in ("numbers.tex", "main.pdf")}
    files = {name: path.read_bytes() for name, path in files.items()}  # all, before any is written
    for old in (*(root / "figures").iterdir(), *(report / "tables").iterdir()):
        if old.relative_to(root).as_posix() not in {*files, *shown}:
            old.unlink()
    for name, content in files.items():
        write(root / name, content)


def main(profile):
    failed = 0
    for notebook in notebooks(ROOT / "nbs"):
        try:
            publish(notebook, ROOT / "runs" / profile / notebook.name)
        except (ValueError, FileNotFoundError) as e:
            print(f"{notebook.name}: {e}", file=sys.stderr)
            failed = 1
    if failed:
        sys.exit("publish: the run is not whole, so README, figures and report stay as they are")
    try:
        publish_files(profile)
    except FileNotFoundError as error:
        sys.exit(f"publish: {error.filename} is not there: make report PROFILE={profile} makes it")
    publish_results()


if __name__ == "__main__":
    main(*sys.argv[1:] or ["quick"])
