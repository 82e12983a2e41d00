"""Write a badge and a first cell into all notebooks, with which a hosted notebook runs them:
`python tools/hosted.py`, after a new notebook, or a new home of the project.

The address is that of settings.ini: `user`, `repo` and `branch`. Elsewhere the cell does nothing.
"""
import json
import os
import re
import sys
from pathlib import Path

from nbdev.config import get_config
from run_notebooks import notebooks

ROOT = Path(__file__).resolve().parent.parent
BADGE = re.compile(r"\n\n\[<kbd>[^\n]*")
FIRST = """import os
import sys
if {{"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}} & set(os.environ) and not os.path.isdir("nbs"):
    # a hosted notebook: fetch the project and what it needs
    ![ -d {repo} ] || git clone -q --depth 1 {git_url}; sh {repo}/tools/setup.sh hosted
    os.chdir("{repo}")
    sys.path.insert(0, os.getcwd())"""


def badge(notebook):
    """A link that opens a notebook file of the repository in Colab, in Markdown."""
    config = get_config(path=ROOT)
    place = f"{config.user}/{config.repo}/blob/{config.branch}/nbs/{notebook.name}"
    return f"[<kbd>Open in Colab</kbd>](https://colab.research.google.com/github/{place})"


def pages_url():
    """Where the built pages are served, by settings.ini."""
    config = get_config(path=ROOT)
    return f"{config.doc_host}{config.doc_baseurl}/"


def as_lines(text):
    """Text as the list of lines in which a notebook file holds it."""
    return text.splitlines(keepends=True)


def add_badge(source, notebook):
    """The first cell's Markdown with the badge below its `> ` line, whether it had one or not."""
    title, space, line, *rest = BADGE.sub("", source).split("\n")
    return "\n".join([title, space, line, "", badge(notebook), *rest])


def add_setup(source):
    """The first code cell, nothing but a directive or nothing, with the lines that fetch the
    project."""
    config = get_config(path=ROOT)
    directives = [line for line in source.split("\n") if line.startswith("#|")]
    return "\n".join([*directives, FIRST.format(repo=config.repo, git_url=config.git_url)])


def make_hosted(notebook):
    """The text of a notebook file, with badge and first cell."""
    nb = json.loads(notebook.read_text(encoding="utf-8"))
    head, first = nb["cells"][0], next(c for c in nb["cells"] if c["cell_type"] == "code")
    head["source"] = as_lines(add_badge("".join(head["source"]), notebook))
    first["source"] = as_lines(add_setup("".join(first["source"])))
    return json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main():
    for notebook in notebooks(ROOT / "nbs"):
        text = make_hosted(notebook)
        if text != notebook.read_text(encoding="utf-8"):
            part = notebook.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, notebook)
            print(notebook.name)


if __name__ == "__main__":
    sys.exit(main())
