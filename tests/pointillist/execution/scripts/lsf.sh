#!/bin/bash
#BSUB -J Project/train/0123456789
#BSUB -M 2048MB
#BSUB -W 01:30
#BSUB -o "logs/train-0123-%J.out"
#BSUB -n 4
#BSUB -R "affinity[core(2)]"
#BSUB -R "rusage[mem=2048MB/task]"

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=${LSB_JOBID-}
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
export POINTILLIST_SUBMITTED_FROM=DefaultLSFEnvironment
status=0
pids=()

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 || status=$?

exit "${status:-0}"
