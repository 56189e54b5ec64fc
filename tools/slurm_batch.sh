#!/bin/sh
# The batch script of SBATCH=1 slurm_train.sh: runs "$@" on every task. Slurm copies it, so it needs no other file.
# 120 s before the time limit Slurm sends SIGUSR1: the training saves, ends with 138, and the job goes back to the queue.
# Preempted by Slurm (SIGTERM), the training saves too, and Slurm itself puts the job back. Environment: SRUN_ARGS,
# RESUME_WITH (what is added to the command after a restart), MAX_RESTARTS (100).
set -u
SAVED_AFTER_USR1=138
RESTARTS=${SLURM_RESTART_COUNT:-0}
STEP=
# srun hands USR1 on to its tasks; Slurm sends TERM to them itself, and srun would kill them at once if it got it from here
trap '[ -z "$STEP" ] || kill -USR1 "$STEP"' USR1
trap : TERM
echo "$(date '+%F %T') job $SLURM_JOB_ID begins on $SLURM_JOB_NODELIST (restarts: $RESTARTS)"
if [ "$RESTARTS" -gt 0 ]; then
    # shellcheck disable=SC2086
    set -- "$@" ${RESUME_WITH:-}
fi
# srun does not take the number of cores from the job; SRUN_ARGS may be several words
# shellcheck disable=SC2086
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} "$@" &
STEP=$!
# a signal ends a wait, not the step
while :; do
    wait "$STEP"
    CODE=$?
    kill -0 "$STEP" 2>/dev/null || break
done
echo "$(date '+%F %T') job $SLURM_JOB_ID ends with code $CODE"
if [ "$CODE" = "$SAVED_AFTER_USR1" ]; then
    if [ "$RESTARTS" -lt "${MAX_RESTARTS:-100}" ]; then
        scontrol requeue "$SLURM_JOB_ID" && exit 0
        echo "job $SLURM_JOB_ID cannot be requeued; submit the same command with --resume" >&2
    else
        echo "job $SLURM_JOB_ID has been restarted $RESTARTS times and is not requeued (MAX_RESTARTS)" >&2
    fi
fi
exit "$CODE"
