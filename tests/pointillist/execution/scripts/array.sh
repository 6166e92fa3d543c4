#!/bin/bash
#SBATCH --job-name=Project/train/0123456789
#SBATCH --output=logs/train-0123-%A_%a.out
#SBATCH --time=00:30:00
#SBATCH --array=0-3
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
# One element of an array of 4. By hand: bash SCRIPT INDEX, from 0 to 3.
elements=(
    00000000000000000000000000000000
    00000000000000000000000000000001
    00000000000000000000000000000002
    00000000000000000000000000000003
)
index="${1:-${SLURM_ARRAY_TASK_ID}}"
read -r -a ids <<<"${elements[$index]}"
own=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}
export POINTILLIST_CLUSTER_JOB="$own${own:+_$index}" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# train: element of 4
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[0]}" || status=$?

exit "${status:-0}"
