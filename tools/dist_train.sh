#!/bin/sh
# Train on several processes of this machine, or of several: one call per machine.
#   sh tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Environment: PORT (29500), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), CUDA_VISIBLE_DEVICES, PYTHON
set -eu
if [ "$#" -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2
# torchrun hands these on to the training, which saves and ends; it kills what has not ended after the seconds below
export PET_SIGNALS_TO_HANDLE="${PET_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}"
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-120}"
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname -- "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
