#!/bin/sh
# Installs the test requirements and runs the lint, the import rules and the tests; arguments go to pytest.
set -eu
EXTRAS=tests
. "$(dirname -- "$0")/setup_env.sh"
cd "$ROOT"
BIN=$(dirname -- "$PY")
"$BIN/ruff" check .
"$BIN/lint-imports" --no-cache >/dev/null || "$BIN/lint-imports" --no-cache
OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} exec "$PY" -m pytest "$@"
