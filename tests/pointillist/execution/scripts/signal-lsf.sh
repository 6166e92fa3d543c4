#!/bin/bash
#BSUB -J "Project/train/0123456789[1-2]"
#BSUB -W 00:30
#BSUB -o "logs/train-0123-%J_%I.out"
#BSUB -r
#BSUB -Q 75
#BSUB -n 1
#BSUB -R "affinity[core(4)]"
#BSUB -R "span[hosts=1]"

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
# One element of an array of 2. By hand: bash SCRIPT INDEX, from 0 to 1.
elements=(
    00000000000000000000000000000000
    00000000000000000000000000000001
)
index="${1:-$((LSB_JOBINDEX - 1))}"
read -r -a ids <<<"${elements[$index]}"
own=${LSB_JOBID-}
export POINTILLIST_CLUSTER_JOB="$own${own:+_$index}" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
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

# train: element of 2
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[0]}" &
pids=("$!")
follow "$!"

if [ "$again" != 0 ]; then
    exit 75
fi
exit "${status:-0}"
