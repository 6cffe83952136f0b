"""Four simulated devices for every test; set before JAX starts."""

import os

os.environ.setdefault("NPROC", "16")  # more threads than devices, or collectives can starve
os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = os.environ.get("XLA_FLAGS", "")
# small programs, compiled once and run once: compile time is all there is
flags += " --xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = flags
