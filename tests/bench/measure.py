"""Measures one workload with one library: prints "case <tab> seconds <tab> value" for each case, as measure.lua does.

A workload NAME.py has functions torch(), jax() and numpy() that return {case: step}; step does the work once and gives
a number (for JAX after block_until_ready). Compilation is not timed: a step runs twice before.
"""
import importlib.util
import math
import os
import sys
import time

import numpy as np

MINIMUM_SECONDS, REPEATS = 0.02, 7
folder = os.path.dirname(os.path.abspath(__file__))


def fill(shape, seed, scale=1.0, dtype="float64"):
    n = int(np.prod(shape)) if shape else 1
    return (np.sin(np.arange(1, n + 1) * 0.7 + seed) * scale).reshape(shape).astype(dtype)


def labels(n, classes):
    """Labels 0..classes - 1: ours less 1."""
    return np.arange(n) * 7 % classes


def measure(step):
    step()
    value = float(step())
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            step()
        spent = time.perf_counter() - start
        if spent >= MINIMUM_SECONDS:
            break
        count = max(count + 1, math.ceil(count * min(10, 1.2 * MINIMUM_SECONDS / max(spent, 1e-9))))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(count):
            step()
        times.append((time.perf_counter() - start) / count)
    return sorted(times)[REPEATS // 2], value


def main():
    workload, library = sys.argv[1:3]
    path = os.path.join(folder, "workloads", workload + ".py")
    if not os.path.exists(path):
        return
    threads = int(os.environ.get("GRADLUA_THREADS", "1"))
    if library == "torch":
        import torch
        torch.set_num_threads(threads)
    if library == "jax":
        import jax
        jax.config.update("jax_enable_x64", True)
    spec = importlib.util.spec_from_file_location(workload, path)
    module = importlib.util.module_from_spec(spec)
    module.fill, module.labels = fill, labels
    spec.loader.exec_module(module)
    make = getattr(module, library, None)
    for case, step in (make() if make else {}).items():
        seconds, value = step() if getattr(module, "SELF_TIMED", False) else measure(step)
        print(f"{case}\t{seconds:.9g}\t{value:.17g}", flush=True)


main()
