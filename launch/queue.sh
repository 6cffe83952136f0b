# Read by the reproduce_* scripts: a queue of commands, one run after the other.
#
#   task FOLDER NAME ARGUMENT...   NAME is main, or another program of the package that makes FOLDER
#
# What has finished is passed over and what was stopped goes on, so that a queue can be stopped
# (Ctrl-C) and started again. A run that fails does not stop the others: it is listed at the end,
# and the exit status is then 1. DRY=1 prints the commands and runs nothing.
# shellcheck shell=bash

PYTHON=${PYTHON:-${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/}python3}
DRY=${DRY:-}
# Initialisations (and labelled draws, where these are random) of each cell, side by side.
TRIALS=${TRIALS:-5}

failed=()
declare -A asked # what several rows need is asked for once
trap 'echo "stopped; the same command goes on" >&2; exit 130' INT TERM

stop_with() {
    echo "error: $1" >&2
    exit 2
}

task() {
    local made=$1 program=$2
    shift 2
    [[ -z ${asked[$made]:-} ]] || return 0
    asked[$made]=1
    [[ $program != main ]] || set -- "$@" --workdir="$made"
    if [[ -n $DRY ]]; then
        printf '%s\n' "$PYTHON -m jaxsdgm.$program $*"
        return
    fi
    # a file that another program makes, or the results of a run
    if [[ -f $made || -f $made/results.json ]]; then
        return
    fi
    echo "== $made" >&2
    "$PYTHON" -m jaxsdgm."$program" "$@" || {
        local status=$?
        ((status < 128)) || exit "$status" # a signal: not the run's fault
        failed+=("$made")
    }
}

# classify FOLDER ARGUMENT...: a cell of a table, with all its trials
classify() {
    local folder=$1
    shift
    task "$folder" main "$@" --config.trials="$TRIALS"
}

# finish FOLDER: the tables of the runs in it, and what failed
finish() {
    local runs=$1
    [[ -z $DRY ]] || return 0
    "$PYTHON" -m jaxsdgm.report "$runs" || failed+=("the report")
    ((${#failed[@]} == 0)) && return
    printf 'failed, and tried again by the same command: %s\n' "${failed[@]}" >&2
    exit 1
}
