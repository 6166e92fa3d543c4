#!/bin/bash
#PBS -N Project-train-0123456789
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o logs/train-0123.out
#PBS -r y
#PBS -V
#PBS -l select=1:ncpus=4:mpiprocs=1:ompthreads=4

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=$(sed 's/\[.*\]//' <<<"${PBS_JOBID-}")
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
export POINTILLIST_WARN_AT="$(($(date +%s) + 1680))"
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

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 &
pids=("$!")
follow "$!"

if [ "$again" != 0 ]; then
    exit 75
fi
exit "${status:-0}"
