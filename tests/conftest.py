"""Four simulated devices for every test; set before JAX starts."""

import os
from importlib.metadata import version

os.environ.setdefault("NPROC", "16")  # more threads than devices, or collectives can starve
os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = os.environ.get("XLA_FLAGS", "")
# small programs, compiled once and run once: compile time is all there is (the fusion emitters take
# two thirds of it)
flags += " --xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
flags += " --xla_cpu_use_fusion_emitters=false"
if [*map(int, version("jaxlib").split(".")[:2])] >= [0, 10]:  # there is no such flag before
    # a device that has waited 40 s for another ends the process: too little on a busy machine
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=600"
os.environ["XLA_FLAGS"] = flags
