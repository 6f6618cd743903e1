REPEATS = 1000
COMPILED = False


def steps(array, sin, total):
    a, b, x, y = array([1.5]).sum(), array([2.5]).sum(), array(fill((256,), 1)), array(fill((256,), 2))

    def scalar_add():
        for _ in range(REPEATS):
            c = a + b
        return c

    def add():
        for _ in range(REPEATS):
            c = x + y
        return total(c)

    def sine():
        for _ in range(REPEATS):
            c = sin(x)
        return total(c)

    return {"eager scalar add (1,000 of them)": scalar_add, "eager add of 256 doubles (1,000 of them)": add,
            "eager sin of 256 doubles (1,000 of them)": sine}


def torch():
    import torch as t

    cases = steps(lambda v: t.tensor(v, dtype=t.float64), t.sin, lambda c: c.sum())

    def chain():
        x = t.tensor(1.5, dtype=t.float64, requires_grad=True)
        y = x
        for _ in range(REPEATS):
            y = y * 1.0001
        y.backward()
        return x.grad

    cases["op recorded in a transform, gradient included (1,000 of them)"] = chain
    return cases


def numpy():
    import numpy as np

    return steps(lambda v: np.array(v), np.sin, lambda c: c.sum())
