#!/usr/bin/env bash
# One machine, one process, all its GPUs (or its CPU). The arguments are those of jaxsdgm.main:
#
#   launch/single.sh --config=configs/quickstart.py --workdir=runs/quickstart
#
# In Colab, in a clone of the project (a workdir on the Drive outlives the machine):
#
#   !bash launch/single.sh --config=configs/quickstart.py --workdir=/content/drive/MyDrive/run
#
# It installs the project into the Python it finds, if that has not been done. The same command
# resumes. JAX_PLATFORMS=cpu leaves the GPU alone.
set -euo pipefail
# So that configs/ is found; relative paths in the arguments start at the project's folder.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/}python3}

has_gpu() { [[ ${JAX_PLATFORMS:-} != cpu && $(nvidia-smi -L 2>/dev/null) == GPU* ]]; }
sees_gpu() { JAX_PLATFORMS=cuda "$PYTHON" -c 'import jax; jax.devices()' 2>/dev/null; }
# -P: the package that is installed, not the folder we are in
is_installed() { "$PYTHON" -P -c 'import jaxsdgm' 2>/dev/null; }

# install TARGET [JAX_TO_KEEP]
install() {
    local kept
    kept=$(mktemp)
    printf '%s\n' "${2-}" >"$kept"
    echo "installing $1" >&2
    "$PYTHON" -m pip install --quiet --constraint "$kept" --editable "$1"
    rm -f "$kept"
}

if has_gpu && ! sees_gpu && [[ -z ${COLAB_RELEASE_TAG:-} ]]; then
    install '.[cuda]'
elif ! is_installed; then
    # A JAX that is there stays as it is: it works, and Colab's was built for Colab's driver.
    install . "$("$PYTHON" -m pip list --format=freeze | grep -E '^jax(lib|[-_]cuda.*)?==' || true)"
fi

if has_gpu; then
    nvidia-smi -L >&2
    # Without it, a JAX that cannot reach the GPU goes on on the CPU, a hundred times slower.
    export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda,cpu}
else
    echo "no GPU: running on ${JAX_PLATFORMS:-what JAX finds}" >&2
    # Large arrays in pages of 2 MiB: a step that fine-tunes mBERT takes 5.1 s instead of 5.9.
    export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
fi

# Nothing else is set. XLA's flags: the defaults of a recent jaxlib; none has been measured to help
# here. Memory: JAX takes 75% of a GPU when it starts; XLA_CLIENT_MEM_FRACTION=.9 makes room for
# larger batches on a GPU without a screen, XLA_PYTHON_CLIENT_PREALLOCATE=false shares one with a
# notebook. The cache of compiled programs is the program's own business.
exec "$PYTHON" -u -m jaxsdgm.main "$@"
