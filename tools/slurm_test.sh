#!/bin/sh
# Run tools/test.py under Slurm, one task per GPU.
#   GPUS=16 sh tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
#   SBATCH=1 GPUS=16 sh tools/slurm_test.sh ...    submits it; a job that is preempted starts again
# Environment: GPUS (8, of all machines together), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS, SBATCH_ARGS, PYTHON,
#   GRES (gpu:GPUS_PER_NODE; "none" asks for no GPU, which CUDA_VISIBLE_DEVICES=-1 does as well).
# The port of rank 0: --cfg-options env_cfg.dist_cfg.port=29501 (or the old dist_params.port), or MASTER_PORT.
set -eu
if [ "$#" -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]" >&2
    exit 2
fi
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
shift 4
OUTPUT=slurm-%j.log
set -- "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher slurm "$@"
. "$HERE/slurm_launch.sh"
