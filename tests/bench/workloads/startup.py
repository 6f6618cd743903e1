import subprocess
import sys
import time

SELF_TIMED = True
TORCH = "import torch; x = torch.ones(3, requires_grad=True); (x * x.sin()).sum().backward(); print(x.grad)"
JAX = "import jax, jax.numpy as jnp; print(jax.grad(lambda x: (x * jnp.sin(x)).sum())(jnp.ones(3)))"


def timed(script):
    def step():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start, 0.0

    return step


def torch():
    return {"start to first gradient, whole process": timed(TORCH)}


def jax():
    return {"start to first gradient, whole process": timed(JAX)}
