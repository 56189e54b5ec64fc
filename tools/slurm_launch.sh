# Sourced by slurm_train.sh and slurm_test.sh: starts the program in "$@" on $GPUS tasks of $PARTITION, or submits it.
#   SBATCH=1 submits by sbatch instead of waiting for srun, with SBATCH_ARGS (--time=08:00:00 and the like).
# $OUTPUT is the file for what a submitted job prints.
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
RESOURCES="--ntasks=$GPUS --ntasks-per-node=$GPUS_PER_NODE --cpus-per-task=${CPUS_PER_TASK:-5}"
if [ "$GRES" != none ]; then
    RESOURCES="--gres=$GRES $RESOURCES"
fi
# RESOURCES, SRUN_ARGS and SBATCH_ARGS are several words or none: they stay unquoted
# shellcheck disable=SC2086
if [ "${SBATCH:-0}" = 1 ]; then
    exec sbatch -p "$PARTITION" --job-name="$JOB_NAME" $RESOURCES --requeue --signal=B:USR1@120 \
        --open-mode=append --output="$OUTPUT" ${SBATCH_ARGS:-} "$HERE/slurm_batch.sh" "$PYTHON" -u "$@"
fi
# shellcheck disable=SC2086
exec srun -p "$PARTITION" --job-name="$JOB_NAME" $RESOURCES --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$PYTHON" -u "$@"
