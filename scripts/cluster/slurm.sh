#!/usr/bin/env bash
# Runs a sweep of `mfm steer`, `tune` or `stress`, or `mfm sample imagenet --count N`, or `mfm eval fid
# --samples DIR --out FOLDER`, as an array of Slurm jobs, each with its part of the runs or images. The
# results do not depend on the number of jobs, and a job that is submitted again skips what is done.
# --out must be a folder that all nodes share. Run scripts/setup there once before.
#
#   sbatch --array=0-15 scripts/cluster/slurm.sh steer gmm --checkpoint data/weights/gmm-small --out /shared/sweep
#   go run ./scripts/mfm steer merge --from /shared/sweep > sweep.json
#
#SBATCH --job-name=mfm
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue

set -euo pipefail
: "${SLURM_ARRAY_TASK_ID:?submit it as an array: sbatch --array=0-15 $0 ...}"
cd "${SLURM_SUBMIT_DIR:-.}"
first=${SLURM_ARRAY_TASK_MIN:?} last=${SLURM_ARRAY_TASK_MAX:?}
((last - first + 1 == ${SLURM_ARRAY_TASK_COUNT:?})) || {
	echo "the array has gaps: submit all of its numbers again, jobs skip what is done" >&2
	exit 2
}
mfm=${TMPDIR:-/tmp}/mfm-$$
go build -o "$mfm" ./scripts/mfm
# exec gives Slurm's SIGTERM to the program, which keeps its state and ends.
exec "$mfm" "$@" --shard "$((SLURM_ARRAY_TASK_ID - first))/${SLURM_ARRAY_TASK_COUNT:?}"
