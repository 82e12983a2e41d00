"""What the notebooks of one run wrote, for LaTeX: `python report/collect.py PROFILE`.

runs/PROFILE/numbers/*.json  ->  runs/PROFILE/report/numbers.tex    key `ae_psnr_16` becomes the
macro \\numAePsnrOneSix

Figures and tables are read where they lie, in runs/PROFILE and in report/benchmarks, which holds
what the benchmarks measured last (tools/latex.sh names these folders to LaTeX).

\\runPreset, \\runProfile, \\runDevice and \\runSeed are what the notebooks printed when they
started. Fails if the report uses a figure, a table or a number that the run did not write.
"""
import json
import os
import re
import sys
from pathlib import Path

DIGITS = "Zero One Two Three Four Five Six Seven Eight Nine".split()


def macro_name(key, prefix="num"):
    """`ae_psnr_16` -> `numAePsnrOneSix`: TeX allows letters only."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key):
        raise ValueError(f"{key!r} is no name for a number: use letters, digits and underscores")
    words = "".join(w[:1].upper() + w[1:] for w in re.split(r"_+|(?<=[0-9])(?=[A-Za-z])", key))
    return prefix + re.sub(r"[0-9]", lambda m: DIGITS[int(m.group())], words)


def latex_value(value):
    """A number or string as LaTeX. Strings that hold a backslash or a dollar sign are LaTeX
    already."""
    if isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}".replace(",", r"\,") if abs(value) >= 10000 else str(value)
    elif isinstance(value, float):
        mantissa, e, exponent = f"{value!r}".partition("e")
        text = rf"{mantissa}\times 10^{{{int(exponent)}}}" if e else mantissa
    else:
        text = str(value)
        if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
            return text.replace(",", r"\,")
        # a number that was rounded for print
        if m := re.fullmatch(r"(-?[\d.]+)(?:e([+-]?\d+))?", text):
            text = m[1] + (rf"\times 10^{{{int(m[2])}}}" if m[2] else "")
            return rf"\ensuremath{{{text}}}" if re.search(r"[-^]", text) else text
        return text if re.search(r"[\\$]", text) else re.sub(r"[%&#_]", r"\\\g<0>", text)
    return rf"\ensuremath{{{text}}}" if re.search(r"[-^]", text) else text


def read_numbers(*folders):
    """All keys and values of the files in `folders`, as one dictionary; no key may stand in two
    files."""
    numbers, origin = {}, {}
    for path in (p for folder in folders for p in sorted(Path(folder).glob("*.json"))):
        for key, value in json.loads(path.read_text(encoding="utf-8")).items():
            if key in numbers:
                raise ValueError(f"number {key!r} stands in {origin[key]} and in {path.name}: give "
                                 "it another name")
            numbers[key], origin[key] = value, path.name
    return numbers


def read_settings(folder):
    """What the executed notebooks in `folder` printed at their start, `01_x: preset p, profile q,
    cpu, seed 0`."""
    found = {"preset": {}, "profile": {}, "device": {}, "seed": {}}  # dictionaries as ordered sets
    for path in sorted(p for p in Path(folder).glob("[0-9][0-9]*_*.ipynb")
                       if ".part" not in p.name):
        for m in re.finditer(rf'"{path.stem}: preset (\S+), profile (\S+), (\S+), seed (\d+)',
                             path.read_text("utf-8")):
            for values, value in zip(found.values(), m.groups()):
                values[value] = None
    return {name: ", ".join(values) for name, values in found.items() if values}


def numbers_tex(numbers, settings):
    """The text of numbers.tex."""
    macros, keys = {macro_name(key, "run"): value for key, value in settings.items()}, {}
    for key, value in numbers.items():
        name = macro_name(key)
        if name in macros:
            raise ValueError(f"numbers {keys[name]!r} and {key!r} give the same macro \\{name}")
        macros[name], keys[name] = value, key
    lines = [
        rf"\newcommand{{\{name}}}{{{latex_value(value)}}}" for name, value in sorted(macros.items())
    ]
    head = "% Written by report/collect.py from what the notebooks measured. Do not edit."
    return "\n".join([head, *lines]) + "\n"


def write(path, data):
    """Write bytes in one step, and only if they are new: LaTeX looks at time stamps."""
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


USED = re.compile(
    r"\\includegraphics\*?(?:\[[^]]*\])?\{(?P<figure>[^}#]+)\}|\\input\{(?P<table>tables/[^}#]+)\}"
    r"|\\(?P<macro>(?:num|run)[A-Z]\w*)")


def used(tex):
    """(kind, name) of every figure, table and macro that a LaTeX file uses and must have; comments
    and \\ifdefined aside."""
    text = re.sub(r"(?<!\\)%.*", "", Path(tex).read_text(encoding="utf-8"))
    text = re.sub(r"(?s)\\ifdefined\b.*?\\fi\b", "", text)
    return sorted({(m.lastgroup, m[m.lastgroup]) for m in USED.finditer(text)})


def missing(root, sources, numbers):
    """What report/*.tex uses and `sources`, folders with figures/ and tables/, lack; one line
    each."""
    macros = set(re.findall(r"\\newcommand\{\\(\w+)\}", numbers))
    for path in sorted((root / "report").glob("*.tex")):
        for kind, name in used(path) if path.name != "numbers.tex" else ():
            if kind == "macro":
                there, name = name in macros, "\\" + name
            else:
                folder, suffix = ("figures", ".pdf") if kind == "figure" else ("", ".tex")
                there = any((source / folder / name).with_suffix(suffix).exists()
                            for source in sources)
            if not there:
                yield f"{path.name}: {kind} {name}"


def main(profile, root=None):
    root = Path(root or Path(__file__).resolve().parent.parent)
    run = root / "runs" / profile
    try:
        if not run.is_dir():
            raise ValueError(f"runs/{profile} is not there: run the notebooks first")
        sources = run, root / "report" / "benchmarks"
        text = numbers_tex(read_numbers(*(s / "numbers" for s in sources)), read_settings(run))
        write(run / "report" / "numbers.tex", text.encode())
        if absent := sorted(set(missing(root, sources, text))):
            raise ValueError(f"runs/{profile} did not write what the report uses: "
                             f"{'; '.join(absent)}")
    except ValueError as e:
        sys.exit(f"collect: {e}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["quick"])
