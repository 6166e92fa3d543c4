#!/bin/bash
#PBS -N Project-train-0123456789
#PBS -l walltime=12:00:00
#PBS -j oe
#PBS -o 'logs/train-0123-^array_index^.out'
#PBS -J 0-2
#PBS -V
#PBS -l select=1:ncpus=2:mpiprocs=1:ompthreads=2:ngpus=1:mem=4194304kb

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
index="${1:-${PBS_ARRAY_INDEX}}"
read -r -a ids <<<"${elements[$index]}"
own=$(sed 's/\[.*\]//' <<<"${PBS_JOBID-}")
export POINTILLIST_CLUSTER_JOB="$own${own:+_$index}" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# train: element of 3
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j "${ids[0]}" || status=$?

exit "${status:-0}"
