#!/bin/bash
#SBATCH --job-name=Project/train/0123456789
#SBATCH --partition=RM-shared
#SBATCH --output=logs/train-0123-%j.out
#SBATCH --time=00:30:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 || status=$?

exit "${status:-0}"
