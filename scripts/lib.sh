# shellcheck shell=bash
# What the scripts beside this file share: where things are, and how to fail in one line. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
# shellcheck disable=SC2034
python=$venv/bin/python
cd "$root" || exit 1

# Go wants a home to cache in, and a service or a container may have none.
[[ -d ${HOME:-} && -w $HOME ]] || export HOME=$root/.cache/home
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export PATH=$venv/bin:$PATH
# A workspace above the repo is not ours, and a checkout of somebody else's has no VCS stamp to give.
export GOWORK=off GOFLAGS=-buildvcs=false GOMLX_NO_AUTO_INSTALL=1
# XLA takes fresh memory for every step: in huge pages there are fewer to fault in. `GLIBC_TUNABLES= scripts/bench` measures without; glibc before 2.35 passes over it.
export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}
# Jupyter keeps its files in the .venv, not in the home.
export JUPYTER_CONFIG_DIR=$venv/etc/jupyter JUPYTER_DATA_DIR=$venv/share/jupyter JUPYTER_RUNTIME_DIR=$venv/run
unset PYTHONHOME PYTHONPATH

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# usage prints the comment at the head of the script that calls it.
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
