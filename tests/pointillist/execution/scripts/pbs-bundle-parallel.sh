#!/bin/bash
#PBS -N Project-train-0123456789
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o logs/train-0123.out
#PBS -V
#PBS -l select=2:ncpus=4:mpiprocs=1:ompthreads=4

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=$(sed 's/\[.*\]//' <<<"${PBS_JOBID-}")
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
status=0
pids=()

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 &
pids+=("$!")

# train: Project/22222222222222222222222222222222/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 22222222222222222222222222222222 &
pids+=("$!")

for pid in ${pids[@]+"${pids[@]}"} $(jobs -p); do
    wait "$pid" || status=$?
done
wait
exit "${status:-0}"
