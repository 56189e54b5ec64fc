#!/bin/sh
# Sourced by quickstart.sh and run_tests.sh: leaves $PY, a Python with maskforge and the extras in $EXTRAS.
# An active virtual environment is used as it is; otherwise .venv is made in the repository. Installing twice costs nothing.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
: "${EXTRAS:?set by the caller, for example EXTRAS=export,tracking}"

find_python() {
    for candidate in python3.12 python3.11 python3.13 python3.10 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo 'maskforge needs Python 3.10 to 3.13; none was found on PATH' >&2
    exit 1
}

if [ -n "${VIRTUAL_ENV:-}" ]; then
    PY=$VIRTUAL_ENV/bin/python
else
    PY=$ROOT/.venv/bin/python
    if [ ! -x "$PY" ]; then
        "$(find_python)" -m venv "$ROOT/.venv" || {
            echo 'Could not make a virtual environment; on Debian: apt-get install python3-venv' >&2
            exit 1
        }
    fi
fi

STAMP=$("$PY" -c 'import sys; print(sys.prefix)')/.maskforge-$(cat "$ROOT"/requirements/*.txt "$ROOT/setup.py" | cksum | cut -d' ' -f1)-$(echo "$EXTRAS" | tr ',' '-')-$(echo "$ROOT" | cksum | cut -d' ' -f1)
if [ ! -e "$STAMP" ]; then
    echo "Installing maskforge[$EXTRAS] into $("$PY" -c 'import sys; print(sys.prefix)') ..."
    "$PY" -m pip install --quiet --disable-pip-version-check -e "$ROOT[$EXTRAS]"
    # mmengine asks for the OpenCV build with windows, which needs libGL; both builds share one folder, so the headless
    # one is put back after the other is gone.
    if "$PY" -m pip show --quiet opencv-python >/dev/null 2>&1; then
        "$PY" -m pip uninstall --quiet --yes opencv-python opencv-python-headless
        "$PY" -m pip install --quiet --disable-pip-version-check --no-deps 'opencv-python-headless>=4.8'
    fi
    : > "$STAMP"
fi
