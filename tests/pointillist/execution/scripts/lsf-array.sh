#!/bin/bash
#BSUB -J "Project/train/0123456789[1-3]"
#BSUB -W 00:30
#BSUB -o "logs/train-0123-%J_%I.out"
#BSUB -n 1
#BSUB -R "affinity[core(4)]"
#BSUB -R "span[hosts=1]"

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
# One element of an array of 3. By hand: bash SCRIPT INDEX, from 0 to 2.
elements=(
    00000000000000000000000000000000
    00000000000000000000000000000001
    00000000000000000000000000000002
)
index="${1:-$((LSB_JOBINDEX - 1))}"
read -r -a ids <<<"${elements[$index]}"
own=${LSB_JOBID-}
export POINTILLIST_CLUSTER_JOB="$own${own:+_$index}" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# train: element of 3
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[0]}" || status=$?

exit "${status:-0}"
