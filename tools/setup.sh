#!/bin/sh
# Set-up: the Debian packages that are missing, where it may install them, then .venv with pinned versions.
# `sh tools/setup.sh hosted` is for a notebook that runs somewhere else: no TeX, no browser, no .venv; packages go to the Python that
# is there, beside the versions that it has.
# It may be killed at any moment and started again; .venv/.ready is written last.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

synthesizer="fluidsynth timidity ffmpeg"
soundfonts="fluid-soundfont-gm musescore-general-soundfont-small timgm6mb-soundfont freepats minuet-data denemo-data csound-soundfont"
tex="latexmk texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended lmodern"
tests="chromium poppler-utils" # only for make test
hosted=; [ "${1:-}" != hosted ] || { hosted=yes; tex=; tests=; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
missing_packages() {
    [ "$hosted" ] || has_venv || echo python3-venv
    if command -v dpkg-query >/dev/null; then
        for package in $synthesizer $soundfonts $tex $tests; do installed "$package" || echo "$package"; done
    else # not a Debian: ask for the programs, by the packages' names
        for package in fluidsynth ffmpeg latexmk chromium; do command -v $package >/dev/null || echo $package; done
    fi
}

missing=$(missing_packages | xargs)
if [ -n "$missing" ] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    echo "setup: installing $missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    install() { as_root apt-get install -q -y --no-install-recommends "$@" </dev/null >>"$log" 2>&1; }
    as_root apt-get update -q </dev/null >"$log" 2>&1 || true
    # One package that is not to be had must not keep the others away.
    # shellcheck disable=SC2086
    install $missing || for package in $missing; do install "$package" || tail -n 1 "$log" >&2; done
    rm -f "$log"
    missing=$(missing_packages | xargs)
fi
[ -z "$missing" ] || echo "setup: please install: apt-get install --no-install-recommends $missing" >&2

add_bare() {
    pip --no-deps basic-pitch==0.4.0 # for its note network and decoder: its dependencies, TensorFlow among them, are not used
    pip --no-deps musicnn==0.1.0     # for its weights alone, which name instruments: it is never imported
}
if [ "$hosted" ]; then
    pip() { "$python" -m pip install -q --no-input --disable-pip-version-check "$@"; }
    pip -e . diffusers ipywidgets
    add_bare
    exit
fi
has_venv || exit 1

# A pip that was killed may leave half a package: begin again from an empty environment.
if [ -e .venv/.installing ]; then rm -rf .venv; fi
[ -x .venv/bin/python ] || { mkdir -p .venv; touch .venv/.installing; "$python" -m venv .venv; }
touch .venv/.installing
echo "setup: Python packages into .venv (the first time this takes some minutes)"
pip() { .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check "$@"; }
pip -c constraints.txt -e '.[dev]'
add_bare
# librosa compiles functions when its parts are first imported, and keeps them. Two programs that do so at once mix up their files
# (numba keeps a function and its wrapper apart), and librosa.yin ends in a segmentation fault from then on. So one does it, here.
.venv/bin/python -c "import librosa; librosa.yin"
rm .venv/.installing
touch .venv/.ready
