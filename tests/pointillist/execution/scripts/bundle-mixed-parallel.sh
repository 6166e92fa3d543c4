#!/bin/bash
#SBATCH --job-name=Project/train/0123456789
#SBATCH --output=logs/train-0123-%j.out
#SBATCH --time=12:00:00
#SBATCH --ntasks=14
#SBATCH --cpus-per-task=1
#SBATCH --gpus=1
#SBATCH --mem-per-cpu=878M

set -e
set -u

cd '/home/ada/my study'
export POINTILLIST_SUBMISSION=Project/train/0123456789
own=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}
export POINTILLIST_CLUSTER_JOB="$own" POINTILLIST_START="$HOSTNAME-$$-$(date +%s)"
export POINTILLIST_SUBMITTED_FROM=DefaultSlurmEnvironment
status=0
pids=()

# train: Project/11111111111111111111111111111111/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 11111111111111111111111111111111 &
pids+=("$!")

# train: Project/22222222222222222222222222222222/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 22222222222222222222222222222222 &
pids+=("$!")

# train: Project/33333333333333333333333333333333/train/
/opt/python/bin/python '/home/ada/my study/project.py' run -o train -j 33333333333333333333333333333333 &
pids+=("$!")

for pid in ${pids[@]+"${pids[@]}"} $(jobs -p); do
    wait "$pid" || status=$?
done
wait
exit "${status:-0}"
