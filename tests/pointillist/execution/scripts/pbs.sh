#!/bin/bash
#PBS -N Project-train-0123456789
#PBS -l walltime=01:30:00
#PBS -j oe
#PBS -o logs/train-0123.out
#PBS -V
#PBS -l select=4:ncpus=2:mpiprocs=1:ompthreads=2:mem=2097152kb

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=$(sed 's/\[.*\]//' <<<"${PBS_JOBID-}")
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
export POINTILLIST_SUBMITTED_FROM=DefaultPBSEnvironment
status=0
pids=()

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 || status=$?

exit "${status:-0}"
