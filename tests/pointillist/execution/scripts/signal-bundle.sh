#!/bin/bash
#SBATCH --job-name=Project/train/0123456789
#SBATCH --output=logs/train-0123-%A_%a.out
#SBATCH --time=01:30:00
#SBATCH --array=0-1
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
# One element of an array of 2. By hand: bash SCRIPT INDEX, from 0 to 1.
elements=(
    '00000000000000000000000000000000 00000000000000000000000000000001 00000000000000000000000000000002'
    '00000000000000000000000000000003 00000000000000000000000000000004 00000000000000000000000000000005'
)
index="${1:-${SLURM_ARRAY_TASK_ID}}"
read -r -a ids <<<"${elements[$index]}"
own=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}
export POINTILLIST_CLUSTER_JOB="$own${own:+_$index}" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# 120 s before the time limit the work is told, by SIGUSR1, and nothing else is begun.
warned=0
again=0
warn() {
    warned=$((warned + 1))
    kill -s USR1 ${pids[@]+"${pids[@]}"} 2>/dev/null || true
}
trap warn USR1
follow() {
    local heard code
    while :; do
        heard=$warned
        code=0
        wait "$1" || code=$?
        [ "$heard" = "$warned" ] && break
    done
    # 75: it wants to go on. 138: the signal came before it had begun.
    if [ "$code" = 75 ] || [ "$code" = 138 ]; then
        warned=1
        again=1
    elif [ "$code" != 0 ]; then
        status=$code
    fi
}

# train: element of 2
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[0]}" &
pids=("$!")
follow "$!"

# train: element of 2
if [ "$warned" = 0 ]; then
    /opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[1]}" &
    pids=("$!")
    follow "$!"
else
    again=1
fi

# train: element of 2
if [ "$warned" = 0 ]; then
    /opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[2]}" &
    pids=("$!")
    follow "$!"
else
    again=1
fi

if [ "$again" != 0 ]; then
    # The scheduler puts this very job back; should it not answer, the next submit goes on.
    for pause in 1 5 0; do
        scontrol requeue "$SLURM_JOB_ID" && break
        sleep "$pause"
    done
    exit 75
fi
exit "${status:-0}"
