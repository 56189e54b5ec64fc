#!/bin/sh
# One command on a fresh machine: installs maskforge, draws a small data set, trains a small Mask R-CNN on it,
# validates, tests, exports to ONNX, runs the ONNX file, and says where everything lies. About 10 minutes on two CPU cores.
set -eu
EXTRAS=export,tracking
. "$(dirname -- "$0")/setup_env.sh"
exec "$PY" -m maskforge.cli.main quickstart "$@"
