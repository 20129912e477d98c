# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# For scripts that are a list of commands: run_steps COMMAND... runs one after the other, up to the first that fails, says
# which of how many runs, and ends with a table of what each took. CPU seconds tell of a busy machine what wall seconds do not.

# Hundredths of a second of user and system time, of this shell's children that have ended.
_cpu() {
    local all
    read -ra all <"/proc/$$/stat"  # of a name without spaces: bash
    echo $((all[15] + all[16]))
}

_table=()
_print_table() {
    printf '\n%8s %8s  %s\n' "wall s" "CPU s" "step"
    printf '%s\n' "${_table[@]}"
}
_row() { printf -v "_table[${#_table[@]}]" '%8d %8d  %s' "$1" $(($2 / 100)) "$3"; }

run_steps() {
    local number=0 status=0 command outcome started before wall cpu
    trap '_print_table; exit 130' INT TERM
    for command in "$@"; do
        number=$((number + 1))
        printf '\n=== step %d of %d, after %d s: %s\n' "$number" $# "$SECONDS" "$command"
        started=$SECONDS before=$(_cpu)
        bash -c "$command" || status=$?
        wall=$((SECONDS - started)) cpu=$(($(_cpu) - before)) outcome=passed
        ((status == 0)) || outcome="FAILED with exit code $status"
        _row "$wall" "$cpu" "$command: $outcome"
        printf '=== %s: %s, %d s, %d CPU s\n' "$command" "$outcome" "$wall" $((cpu / 100))
        ((status == 0)) || break
    done
    _row "$SECONDS" "$(_cpu)" "$number of $# steps"
    _print_table
    ((status == 0)) || exit "$status"
    printf '\n=== all passed in %d s\n' "$SECONDS"
}
