"""A million random numbers."""
COMPILED = False
N = 1000000


def counted(draw):
    def run():
        draw()
        return N

    return run


def torch():
    import torch as t

    cases = {}
    for name, dtype in (("f64", t.float64), ("f32", t.float32)):
        cases[f"uniform, a million, {name}"] = counted(lambda dtype=dtype: t.rand(N, dtype=dtype))
        cases[f"normal, a million, {name}"] = counted(lambda dtype=dtype: t.randn(N, dtype=dtype))
    cases["integers, a million"] = counted(lambda: t.randint(1, 11, (N,)))
    cases["permutation of a million"] = counted(lambda: t.randperm(N))
    cases["dropout mask, a million"] = counted(lambda: t.empty(N, dtype=t.float64).bernoulli_(0.9))
    return cases


def jax():
    import jax as j

    def jitted(draw):
        f, key = j.jit(draw), j.random.key(1)
        return counted(lambda: f(key).block_until_ready())

    cases = {}
    for name, dtype in (("f64", "float64"), ("f32", "float32")):
        cases[f"uniform, a million, {name}"] = jitted(lambda k, dtype=dtype: j.random.uniform(k, (N,), dtype))
        cases[f"normal, a million, {name}"] = jitted(lambda k, dtype=dtype: j.random.normal(k, (N,), dtype))
    cases["integers, a million"] = jitted(lambda k: j.random.randint(k, (N,), 1, 11))
    cases["permutation of a million"] = jitted(lambda k: j.random.permutation(k, N))
    cases["dropout mask, a million"] = jitted(lambda k: j.random.bernoulli(k, 0.9, (N,)))
    return cases


def numpy():
    import numpy as np

    draw = np.random.default_rng(1)
    cases = {}
    for name, dtype in (("f64", np.float64), ("f32", np.float32)):
        cases[f"uniform, a million, {name}"] = counted(lambda dtype=dtype: draw.random(N, dtype=dtype))
        cases[f"normal, a million, {name}"] = counted(lambda dtype=dtype: draw.standard_normal(N, dtype=dtype))
    cases["integers, a million"] = counted(lambda: draw.integers(1, 11, N))
    cases["permutation of a million"] = counted(lambda: draw.permutation(N))
    cases["dropout mask, a million"] = counted(lambda: draw.random(N) < 0.9)
    return cases
