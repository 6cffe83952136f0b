#!/usr/bin/env bash
# One run on several machines by ssh, or in several processes on this one.
#
#   HOSTS="gpu1 gpu2" launch/ssh.sh --config=configs/mldoc_mbert.py:en,8 --workdir=runs/mbert
#   PROCESSES=2 launch/ssh.sh --config=configs/mldoc_mbert.py:en,8 --workdir=runs/mbert
#
# The arguments are those of jaxsdgm.main. Lines of output begin with their host or process. When
# one process fails the others are stopped, and its exit status is this script's. The same command
# resumes. Needs bash 4.3; of the hosts: ssh without a password, and the project, its Python and the
# data at the same paths (a shared file system, or copies).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# Machines, separated by blanks; "": processes on this one.
HOSTS=${HOSTS:-}
# Processes on this machine; its GPUs are shared out evenly.
PROCESSES=${PROCESSES:-2}
# Simulated CPU devices of each, in place of GPUs; "": the GPUs, or 2 where there are none.
DEVICES=${DEVICES:-}
# Of the environment that is active here: ssh activates none over there.
PYTHON=${PYTHON:-${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/}python3}
# Where the project is on the hosts.
DIRECTORY=${DIRECTORY:-$PWD}
# Above the ports that Linux gives to outgoing connections, and seldom the one of another run.
PORT=${PORT:-$((61000 + RANDOM % 4000))}
# The address of the first host as the others see it; its name unless given.
COORDINATOR=${COORDINATOR:-}
# Seconds between asking processes to stop and killing them.
GRACE=${GRACE:-5}

stop_with() {
    echo "error: $1" >&2
    exit 2
}

workdir=
for argument; do
    [[ $argument != --workdir=* ]] || workdir=${argument#*=}
done
[[ -n $workdir ]] || stop_with "give --workdir=DIR: all processes write there, and resume there"

# Every word in single quotes, which any POSIX shell at the other end reads as it is.
quoted() {
    local word
    for word; do printf "'%s' " "${word//\'/\'\\\'\'}"; done
}

# Lines as they come, NAME in front (ssh's terminal ends them with a carriage return). It outlives
# the request to stop, so that last words are not lost, and ends with its input.
label() {
    trap '' TERM
    local line
    while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "${line%$'\r'}"; done
}

# A process group for each process, so that whatever it has started is stopped with it.
set -m
groups=()

# start NAME COMMAND...
start() {
    (
        # not at once: when the process has ended
        trap 'exit 143' TERM
        "${@:2}" </dev/null 2>&1 | label "$1"
        status=$?
        ((status == 0)) || echo "[$1] ended with status $status" >&2
        exit "$status"
    ) &
    groups+=($!)
}

stop_all() {
    kill -TERM -- "${groups[@]/#/-}" 2>/dev/null
    # jax.distributed takes SIGTERM for a notice of preemption and goes on: hence the second signal
    for ((tenths = 0; tenths < GRACE * 10; tenths++)); do
        kill -0 -- "${groups[@]/#/-}" 2>/dev/null || return
        sleep 0.1
    done
    # without bash's remarks about it
    exec 2>/dev/null
    kill -KILL -- "${groups[@]/#/-}"
}
trap 'stop_all; exit 130' INT
trap 'stop_all; exit 143' TERM HUP

if [[ -n $HOSTS ]]; then
    read -ra hosts <<<"$HOSTS"
    address=${COORDINATOR:-${hosts[0]#*@}}:$PORT
    for i in "${!hosts[@]}"; do
        command=("$PYTHON" -u -m jaxsdgm.main --distributed "--coordinator=$address"
            "--processes=${#hosts[@]}" "--process=$i" "$@")
        # -tt: with a terminal of its own the process is hung up on, and ends, when this ssh ends
        start "${hosts[i]}" ssh -tt -o BatchMode=yes -o ServerAliveInterval=30 "${hosts[i]}" \
            "cd $(quoted "$DIRECTORY")&& exec $(quoted "${command[@]}")"
    done
else
    gpus=()
    if [[ -n $DEVICES ]]; then
        :
    elif [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
    elif command -v nvidia-smi >/dev/null; then
        mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
    fi
    ((${#gpus[@]} % PROCESSES == 0)) ||
        stop_with "${#gpus[@]} GPUs are not to be shared evenly by PROCESSES=$PROCESSES"
    share=$((${#gpus[@]} / PROCESSES))
    for ((i = 0; i < PROCESSES; i++)); do
        if ((share)); then
            devices=("CUDA_VISIBLE_DEVICES=$(IFS=, && echo "${gpus[*]:i*share:share}")")
        else
            # NPROC: XLA's threads; fewer than devices, and collectives wait for each other for ever
            devices=(JAX_PLATFORMS=cpu "NPROC=${NPROC:-16}"
                "XLA_FLAGS=${XLA_FLAGS:-} --xla_force_host_platform_device_count=${DEVICES:-2}")
        fi
        start "$i" env "${devices[@]}" "$PYTHON" -u -m jaxsdgm.main --distributed \
            "--coordinator=${COORDINATOR:-127.0.0.1}:$PORT" "--processes=$PROCESSES" \
            "--process=$i" "$@"
    done
fi

for _ in "${groups[@]}"; do
    wait -n
    status=$?
    if ((status)); then
        echo "stopping the other processes" >&2
        stop_all
        exit "$status"
    fi
done
