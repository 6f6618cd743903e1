SIZES = (10, 1000, 100000, 1000000)


def functions(m):
    def transcendental(x):
        return (m.tanh(0.5 * x + 0.1) * m.exp(-x * x / 2) + m.log1p(x * x)).sum()

    def arithmetic(x):
        y = x * 1.5 + 0.25
        z = y * x - 0.5
        return (z * y + x * z).sum()

    return {"transcendental chain": transcendental, "arithmetic chain": arithmetic}


def torch():
    import torch as t

    def step(f, x):
        def run():
            x.grad = None
            value = f(x)
            value.backward()
            return value.detach()

        return run

    cases = {}
    for name, f in functions(t).items():
        for n in SIZES:
            x = t.from_numpy(fill((n,), 1)).requires_grad_()
            for how in ("traced", "jit"):
                cases[f"{name}, n = {n}, {how}"] = step(f, x)
    return cases


def jax():
    import jax as j
    import jax.numpy as jnp

    def step(f, x):
        both = j.jit(j.value_and_grad(f))

        def run():
            value, gradient = both(x)
            gradient.block_until_ready()
            return value

        return run

    cases = {}
    for name, f in functions(jnp).items():
        for n in SIZES:
            for how in ("traced", "jit"):
                cases[f"{name}, n = {n}, {how}"] = step(f, jnp.array(fill((n,), 1)))
    return cases
