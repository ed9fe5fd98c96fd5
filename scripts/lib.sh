# shellcheck shell=bash
# What the scripts in this folder share: paths, the environment, and errors of one line. It is
# sourced, not run. A script may be called by a link to it.

unset CDPATH # with it cd prints a folder
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
# shellcheck disable=SC2034
python=$venv/bin/python
script=$(realpath "$0") # before the folder changes
cd "$root" || exit 1

# die MESSAGE... prints one line to the standard error and exits with code 1.
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# usage prints the comment at the head of the calling script.
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$script" || exit 1
}

# Every script writes to these folders, but the help does not.
for folder in "$root" "$venv" "$root"/{.cache,figures}; do
	[[ ${1:-} == -h || ${1:-} == --help || ! -e $folder || -w $folder ]] ||
		die "no permission to write to $folder, which belongs to $(stat -Lc %U "$folder"): use a checkout of your own"
done

# Go needs a home folder for its cache. A service or a container may have none.
[[ -d ${HOME:-} && -w $HOME ]] || export HOME=$root/.cache/home
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export PATH=$venv/bin:$PATH
# Ignore a Go workspace above the repository, and do not stamp builds with version control, which
# fails in a checkout of another user.
export GOWORK=off GOFLAGS=-buildvcs=false GOMLX_NO_AUTO_INSTALL=1
# XLA allocates fresh memory in every step; huge pages make page faults rarer. `GLIBC_TUNABLES=
# scripts/bench` measures without them. glibc before 2.35 ignores the variable.
export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}
# Jupyter keeps its files in the .venv, not in the home folder.
export JUPYTER_CONFIG_DIR=$venv/etc/jupyter JUPYTER_DATA_DIR=$venv/share/jupyter JUPYTER_RUNTIME_DIR=$venv/run
unset PYTHONHOME PYTHONPATH
