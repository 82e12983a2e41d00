#!/bin/sh
# report/main.tex -> report/main.pdf. A reference or citation that leads nowhere is an error.
set -eu
cd "$(dirname "$0")/../report"
command -v latexmk >/dev/null || { echo "latexmk is missing: apt-get install --no-install-recommends latexmk" \
    "texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended lmodern" >&2; exit 1; }

# Dates inside the PDF are those of the last commit, so the same numbers give the same file.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH FORCE_SOURCE_DATE=1 max_print_line=1000
build() { mkdir -p build && latexmk -pdf -interaction=nonstopmode -halt-on-error -outdir=build main.tex >build/out 2>&1; }

# A build that was killed may leave half an .aux file behind: the second try begins from nothing.
build || { rm -rf build; build; } || { grep -m 1 -A 4 '^!' build/main.log >&2 || tail -n 5 build/out >&2; exit 1; }
if grep -E 'LaTeX( hyperref)? Warning: .*(undefined|multiply)' build/main.log >&2; then exit 1; fi
cmp -s build/main.pdf main.pdf || { cp build/main.pdf main.pdf.part && mv main.pdf.part main.pdf; }
echo "report/main.pdf"
