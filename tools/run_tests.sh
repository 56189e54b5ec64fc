#!/bin/sh
# Installs the test requirements and runs the lint, the import rules and the tests; arguments go to pytest.
# One process per core, one thread each; -n 0 is one process (for --pdb, or tests that share a GPU).
set -eu
EXTRAS=tests
. "$(dirname -- "$0")/setup_env.sh"
cd "$ROOT"
BIN=$(dirname -- "$PY")
"$BIN/ruff" check .
"$BIN/lint-imports" --no-cache >/dev/null || "$BIN/lint-imports" --no-cache
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec "$PY" -m pytest -n auto --dist worksteal "$@"
