#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The README's first commands on a machine that has nothing: in a minimal Debian root, with a clone of this tree's last
# commit, so that a missing package cannot hide. Takes minutes, and some gigabytes in $TMPDIR.
#
#     ci/fresh.sh [--suite NAME] [--keep] [COMMAND]     this machine's suite if not said; --keep leaves the root there to
#                                                       look at; COMMAND, such as ci/run.sh, takes the README's place
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "ci/fresh.sh: $*" >&2; exit 1; }

suite='' keep=false commands=''
while (($#)); do
    case $1 in
        --suite) suite=${2:?ci/fresh.sh: --suite: expected a name such as bookworm, found none} && shift 2 ;;
        --keep) keep=true && shift ;;
        -*) fail "expected --suite NAME, --keep or a command, found $1" ;;
        *) commands=$* && break ;;
    esac
done
command -v mmdebstrap >/dev/null || fail "expected mmdebstrap, found none: apt-get install mmdebstrap"
mode=root apart=(unshare --mount)  # what is mounted is seen, and lasts, only as long as what mounted it
if ((EUID != 0)); then
    mode=unshare apart=()
    unshare --user --map-auto true 2>/dev/null ||
        fail "needs root, or user namespaces with ranges in /etc/subuid and /etc/subgid; found neither"
fi

# Where packages come from: what apt uses here for the distribution itself, as it is or for another suite.
# shellcheck source=/dev/null
here=$(. /etc/os-release && echo "$VERSION_CODENAME")
suite=${suite:-$here}
# shellcheck disable=SC2016  # apt fills these in
mapfile -t targets < <(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v here="$here" '($1 == "Debian" || $1 == "Ubuntu") && ($3 == here || index($3, here "-") == 1)' | sort -u)
((${#targets[@]})) || fail "expected lists of $here's packages, found none: apt-get update"
sources=() include=()
for target in "${targets[@]}"; do
    read -r _ uri release component <<<"$target"
    sources+=("deb $uri ${release/#$here/$suite} $component")
    if [[ $uri == https:* ]]; then include=(--include=ca-certificates); fi
done
mapfile -t options < <(apt-config dump | sed -nE 's/^(Acquire::(http|https|Check|Retries|Force)[^ ]* ".+");$/--aptopt=\1/p')

# What the README says to type.
if [[ -z $commands ]]; then
    commands=$(awk '/^    / { print substr($0, 5); seen = 1; next } seen { exit }' README.md)
    [[ $commands == ci/deps.sh* ]] || fail "expected README.md's first block to begin with ci/deps.sh, found: $commands"
fi

work=$(mktemp -d)
chmod 755 "$work"
maker=
cleanup() {
    if [[ $maker ]]; then
        kill -TERM -- "-$maker" || true
        wait "$maker" || true
        kill -KILL -- "-$maker" || true  # nothing of it may still write where is cleaned up
    fi 2>/dev/null
    if $keep; then echo "kept: $work"; else rm -rf --one-file-system "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
git clone --quiet --no-hardlinks . "$work/shm-primitives"
commit=$(git -C "$work/shm-primitives" log -1 --format='%h %s')
mkdir "$work/result" && chmod 777 "$work/result"  # what runs as root in a user namespace is somebody else here
root=/dev/null  # no root is left, nor has to be removed
if $keep; then root=$work/root; fi

echo "a minimal $suite; $commit"
# Each line by itself: of what "&&" joins, a failure ends the line and not the script.
{
    echo "cd /root/shm-primitives"
    while read -r line; do printf 'echo %q; bash -c %q || exit\n' "\$ $line" "$line"; done <<<"$commands"
} >"$work/inside.sh"
# mmdebstrap mounts /proc, /sys, /dev and /dev/shm. Its own exit code says nothing of the commands', so that is written
# down. In a session of its own, so that it can be stopped with all that it has started.
made=0
# shellcheck disable=SC2016  # mmdebstrap's shell expands $1
TMPDIR=$work setsid "${apart[@]}" \
    mmdebstrap --mode="$mode" --variant=minbase --quiet "${include[@]}" "${options[@]}" \
    --customize-hook="copy-in '$work/shm-primitives' '$work/inside.sh' /root" \
    --customize-hook='env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        chroot "$1" bash /root/inside.sh 2>&1 && status=0 || status=$?; echo "$status" >'"'$work/result/status'" \
    "$suite" "$root" "${sources[@]}" </dev/null &
maker=$!
wait "$maker" || made=$?
maker=
status=$(cat "$work/result/status" 2>/dev/null) || fail "no root was made: mmdebstrap ended with exit code $made"
echo "a minimal $suite, $commit: the README's commands ended with exit code $status after $SECONDS s in all"
exit "$status"
