#!/bin/sh
# report/main.tex -> runs/PROFILE/report/main.pdf, with the figures, tables and numbers of that run: `sh tools/latex.sh PROFILE`.
# Without a profile: report/main.pdf, from what is committed. A reference or citation that leads nowhere is an error.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
command -v latexmk >/dev/null || { echo "latexmk is missing: apt-get install --no-install-recommends latexmk" \
    "texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended lmodern" >&2; exit 1; }
target=report
[ $# = 0 ] || target=runs/$1/report
mkdir -p "$target"
cd "$target"

# Here first, then the run, then what the benchmarks measured; main.tex finds figures in ../figures by itself.
export TEXINPUTS=".:..:$root/report/benchmarks:$root/report/benchmarks/figures:$root/report:" BIBINPUTS="$root/report:"
# Dates inside the PDF are those of the last commit, so the same numbers give the same file.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH FORCE_SOURCE_DATE=1 max_print_line=1000
build() { mkdir -p build && latexmk -pdf -interaction=nonstopmode -halt-on-error -outdir=build "$root/report/main.tex" >build/out 2>&1; }

# A build that was killed may leave half an .aux file behind: the second try begins from nothing.
build || { rm -rf build; build; } || { grep -m 1 -A 4 '^!' build/main.log >&2 || tail -n 5 build/out >&2; exit 1; }
if grep -E 'LaTeX( hyperref)? Warning: .*(undefined|multiply)' build/main.log >&2; then exit 1; fi
cmp -s build/main.pdf main.pdf || { cp build/main.pdf main.pdf.part && mv main.pdf.part main.pdf; }
echo "report: $target/main.pdf"
