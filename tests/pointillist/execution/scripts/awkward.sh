#!/bin/bash
#SBATCH --job-name=Project/train/0123456789
#SBATCH --output=logs/train-0123-%j.out
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1

set -e
set -u

cd '/home/ada/it'"'"'s `here` $HOME'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# a'b $(c): Project/11111111111111111111111111111111/a'b $(c)/
/opt/python/bin/python '/home/ada/my study/project.py' run -o 'a'"'"'b $(c)' -j 11111111111111111111111111111111 || status=$?

exit "${status:-0}"
