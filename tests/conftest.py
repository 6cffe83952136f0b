"""Four simulated devices for every test, set before JAX starts; and no more programs than fit."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("NPROC", "16")  # more threads than devices, or collectives can starve
os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = os.environ.get("XLA_FLAGS", "")
# small programs, compiled once and run once: compile time is all there is (the fusion emitters take
# two thirds of it)
flags += " --xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
flags += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = flags

MAPPINGS = 15_000  # of the 65 530 that Linux grants a process


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_go_in_time():
    """Every program compiled for the CPU keeps memory mappings for as long as JAX caches it.

    A worker that has run half of the tests would be out of them, and the next compilation would
    end it (a segmentation fault in whichever test that is).
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MAPPINGS:
        import jax

        jax.clear_caches()
        gc.collect()
