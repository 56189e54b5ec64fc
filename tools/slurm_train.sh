#!/bin/sh
# Run tools/train.py under Slurm, one task per GPU.
#   GPUS=16 sh tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
# Environment: GPUS (8, of all machines together), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, PYTHON,
#   GRES (gpu:GPUS_PER_NODE; "none" asks for no GPU, which CUDA_VISIBLE_DEVICES=-1 does as well).
# The port of rank 0: --cfg-options env_cfg.dist_cfg.port=29501 (or the old dist_params.port), or MASTER_PORT.
set -eu
if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
shift 4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
if [ "$GPUS" -lt "$GPUS_PER_NODE" ]; then
    GPUS_PER_NODE=$GPUS
fi
if [ "${CUDA_VISIBLE_DEVICES:-}" = -1 ]; then
    GRES=${GRES:-none}
fi
GRES=${GRES:-gpu:$GPUS_PER_NODE}
PYTHON=${PYTHON:-$(command -v python || command -v python3)}
HERE=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
OPTIONS=
if [ "$GRES" != none ]; then
    OPTIONS="--gres=$GRES"
fi
# SRUN_ARGS may be several words, OPTIONS none: both stay unquoted
# shellcheck disable=SC2086
exec srun -p "$PARTITION" --job-name="$JOB_NAME" $OPTIONS \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$PYTHON" -u "$HERE/train.py" "$CONFIG" --work-dir "$WORK_DIR" --launcher slurm "$@"
