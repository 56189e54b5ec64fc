#!/bin/sh
# Start a real Slurm on this machine: two virtual nodes, node1 and node2, in the partition "local".
# Debian: apt-get install slurm-wlm munge; run as root.
#   sh tests/slurm/start_slurm.sh start [FOLDER]     prints the value of SLURM_CONF to export
#   sh tests/slurm/start_slurm.sh stop [FOLDER]
# Environment: SLURMCTLD_PORT (16817), SLURMD_PORT (16818; the second node takes the next one)
set -eu
ACTION=${1:-start}
FOLDER=${2:-/tmp/maskforge_slurm}

stop() {
    for name in slurmd.node1 slurmd.node2 slurmctld munged; do
        if [ -s "$FOLDER/$name.pid" ]; then
            kill "$(cat "$FOLDER/$name.pid")" 2>/dev/null || true
        fi
    done
}

if [ "$ACTION" = stop ]; then
    stop
    exit 0
fi
for program in munged slurmctld slurmd srun; do
    if ! command -v "$program" >/dev/null && ! [ -x "/usr/sbin/$program" ]; then
        echo "$program is missing: apt-get install slurm-wlm munge" >&2
        exit 3
    fi
done
PATH=$PATH:/usr/sbin:/sbin
HOST=$(hostname -s)
PORT=${SLURMD_PORT:-16818}
mkdir -p "$FOLDER/state" "$FOLDER/spool.node1" "$FOLDER/spool.node2"
chmod 755 "$FOLDER"
if [ ! -s "$FOLDER/munge.key" ]; then
    (umask 077; head -c 1024 /dev/urandom >"$FOLDER/munge.key")
fi
# a socket and a key of our own: a munge of the system is left alone
munged --force --key-file="$FOLDER/munge.key" --socket="$FOLDER/munge.socket" --pid-file="$FOLDER/munged.pid" \
    --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge.seed"
# Slurm 23 can do without cgroups, older ones want the kind that this machine has
CGROUP=disabled
case $(slurmd -V) in
    *' 2'[0-2].*) if [ -e /sys/fs/cgroup/cgroup.controllers ]; then CGROUP=cgroup/v2; else CGROUP=cgroup/v1; fi ;;
esac
printf 'CgroupPlugin=%s\nIgnoreSystemd=yes\n' "$CGROUP" >"$FOLDER/cgroup.conf"
# cred_expire: a job that is requeued may start again after so many seconds (120 by default)
cat >"$FOLDER/slurm.conf" <<CONF
ClusterName=maskforge
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool.%n
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.%n.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.%n.log
SlurmctldPort=${SLURMCTLD_PORT:-16817}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
KillWait=120
SchedulerParameters=batch_sched_delay=1,sched_interval=5
# four tasks fit on each node, however few cores there are
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$PORT CPUs=4 State=UNKNOWN
NodeName=node2 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + 1)) CPUs=4 State=UNKNOWN
PartitionName=local Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
export SLURM_CONF="$FOLDER/slurm.conf"
slurmctld -c -f "$SLURM_CONF"
for node in node1 node2; do
    slurmd -c -N "$node" -f "$SLURM_CONF"
done
tries=0
until [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = 2 ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ]; then
        echo "slurm did not come up; its logs are in $FOLDER" >&2
        tail -n 5 "$FOLDER"/*.log >&2
        exit 4
    fi
    sleep 1
done
echo "$SLURM_CONF"
