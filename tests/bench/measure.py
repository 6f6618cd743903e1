"""Measures one workload with one library: prints "case <tab> seconds <tab> value <tab> seconds of the first call" for
each case, as measure.lua does, and the peak memory of the process at the end.

A workload NAME.py has functions torch(), jax() and numpy() that return {case: step}; step does the work once and gives
a number (for JAX after block_until_ready), or a tuple that begins with it: what else is in it a compiler of the whole
step may not leave out as unused. What compiles does so in the first call. The library torch_compiled is
torch() with every step given to torch.compile, which also needs a C++ compiler; COMPILED = False in a workload says that
its steps are not for it (a loop of 10,000 operations), and a step that compiles for longer than two minutes is left out.
"""
import importlib.util
import math
import os
import resource
import signal
import sys
import time

import numpy as np

MINIMUM_SECONDS, REPEATS, COMPILE_SECONDS = 0.02, 7, 120
folder = os.path.dirname(os.path.abspath(__file__))


def fill(shape, seed, scale=1.0, dtype="float64"):
    n = int(np.prod(shape)) if shape else 1
    return (np.sin(np.arange(1, n + 1) * 0.7 + seed) * scale).reshape(shape).astype(dtype)


def labels(n, classes):
    """Labels 0..classes - 1: ours less 1."""
    return np.arange(n) * 7 % classes


def give_up(*_):
    raise TimeoutError(f"not compiled in {COMPILE_SECONDS} s")


def measure(step):
    signal.alarm(COMPILE_SECONDS)
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    signal.alarm(0)
    value = step()
    value = float(value[0] if isinstance(value, tuple) else value)
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
    return sorted(times)[REPEATS // 2], value, first


def compiled(module):
    """The steps of torch(), compiled; without a C++ compiler none."""
    import shutil

    if not shutil.which("c++") or not getattr(module, "COMPILED", True):
        return {}
    import torch

    return {case: torch.compile(step) for case, step in module.torch().items()}


def main():
    workload, library = sys.argv[1:3]
    path = os.path.join(folder, "workloads", workload + ".py")
    if not os.path.exists(path):
        return
    threads = int(os.environ.get("GRADLUA_THREADS", "1"))
    if library.startswith("torch"):
        import torch
        torch.set_num_threads(threads)
    if library == "jax":
        import jax
        jax.config.update("jax_enable_x64", True)
    spec = importlib.util.spec_from_file_location(workload, path)
    module = importlib.util.module_from_spec(spec)
    module.fill, module.labels = fill, labels
    spec.loader.exec_module(module)
    signal.signal(signal.SIGALRM, give_up)
    timed = getattr(module, "SELF_TIMED", False)
    if library == "torch_compiled":
        cases = {} if timed else compiled(module)
    else:
        cases = getattr(module, library, dict)()
    for case, step in cases.items():
        try:
            seconds, value, *first = step() if timed else measure(step)
        except Exception as error:  # the compiler does not take every step: no second derivatives, for one
            signal.alarm(0)
            print(f"{case}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        print(f"{case}\t{seconds:.9g}\t{value:.17g}\t{first[0] if first else 0:.9g}", flush=True)
    if cases and not timed:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory of the process: {workload}\t{peak}\t0\t0", flush=True)


main()
