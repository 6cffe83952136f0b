"""Arithmetic of a step, counted, and how it compares with what the device can do."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxsdgm.layers.softmax import softmax_nll
from jaxsdgm.training.parallel import AXIS
from jaxsdgm.training.step import gather

#: 10^12 dense matrix operations per second by device kind (the first that begins so) and dtype,
#: from the makers' data sheets; float32 products are TF32 where the device has that
PEAKS = {
    "NVIDIA H200": {"bfloat16": 989, "float32": 495},
    "NVIDIA H100 PCIe": {"bfloat16": 756, "float32": 378},
    "NVIDIA H100": {"bfloat16": 989, "float32": 495},
    "NVIDIA A100": {"bfloat16": 312, "float32": 156},
    "NVIDIA L4": {"bfloat16": 121, "float32": 60},
    "Tesla V100": {"float32": 15.7},
    "Tesla T4": {"float32": 8.1},
    "TPU v4": {"bfloat16": 275, "float32": 275},
    "TPU v5 lite": {"bfloat16": 197, "float32": 197},
    "TPU v6 lite": {"bfloat16": 918, "float32": 918},
}

Flops = Mapping[str, float]  # by dtype of the operands


def step_flops(objective: Callable[..., Any], state: Any, data: Any, plan: Any) -> Flops:
    """Operations of matrix products in a step of one trial, forward and twice that backward.

    What an implementation computes again for the backward pass does not count, padding does. State
    and plan have axes of trials, and of trials and steps, in front.
    """

    def forward(state: Any, data: Any, plan: Any) -> Any:
        found = []
        for phase, groups in plan.items():
            batch = {group: gather(data[phase][group], rows) for group, rows in groups.items()}
            key = jax.random.wrap_key_data(state.key)
            arguments = state.params, state.batch_stats, batch
            found.append(objective(*arguments, phase=phase, hyper=state.hyper, key=key))
        return found

    shapes = lambda tree, axes: jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree
    )
    traced = jax.make_jaxpr(forward, axis_env=[(AXIS, 1)])
    total = _count(traced(shapes(state, 1), shapes(data, 0), shapes(plan, 2)).jaxpr)
    return {dtype: 3 * flops for dtype, flops in total.items()}


def message(flops: Flops, seconds: float, devices: list[Any]) -> str:
    """FLOP/s, and the share of the devices' peak that this is."""
    rate = _in_words(sum(flops.values()) / seconds)
    kind = devices[0].device_kind
    peak = next((peaks for name, peaks in PEAKS.items() if kind.startswith(name)), {})
    if not set(flops) <= set(peak):
        return f"{rate} (no peak known of {kind})"
    least = sum(x / (1e12 * peak[dtype]) for dtype, x in flops.items()) / len(devices)
    return f"{rate} ({100 * least / seconds:.3g}% of the peak)"


def _in_words(rate: float) -> str:
    scale = next((s for s in ((1e12, "T"), (1e9, "G")) if rate >= s[0]), (1e6, "M"))
    return f"{rate / scale[0]:.3g} {scale[1]}FLOP/s"


def _count(jaxpr: Any) -> Counter[str]:
    """Operations of the matrix products in a jaxpr, by dtype; of branches the costliest."""
    total: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            left, right = (v.aval for v in equation.invars)
            (contracted, _), _ = params["dimension_numbers"]
            depth = math.prod(left.shape[axis] for axis in contracted)
            total[str(right.dtype)] += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        elif _named(params, softmax_nll):  # its loop ends with the last word, wherever that is
            rows, table = (v.aval for v in equation.invars[:2])
            total[str(table.dtype)] += 2 * math.prod(rows.shape) * table.shape[0]
        elif name == "cond":
            branches = [_count(branch.jaxpr) for branch in params["branches"]]
            total += max(branches, key=lambda count: sum(count.values()))
        else:
            times = params["length"] if name == "scan" else 1
            inner = (v.jaxpr for v in params.values() if hasattr(v, "jaxpr"))
            for count in map(_count, inner):
                for dtype, flops in count.items():
                    total[dtype] += times * flops
    return total


def _named(params: Mapping[str, Any], function: Callable[..., Any]) -> bool:
    traced = params.get("call_jaxpr")
    return traced is not None and traced.jaxpr.debug_info.func_name == function.__name__
