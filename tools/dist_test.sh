#!/bin/sh
# Test on several processes of this machine, or of several: one call per machine.
#   sh tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Environment: PORT (29500), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), CUDA_VISIBLE_DEVICES, PYTHON
set -eu
if [ "$#" -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname -- "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
