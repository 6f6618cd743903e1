"""The programs of scalar.lua. JAX is left out: XLA compiles 10,000 operations for minutes."""
COMPILED = False
OPERATIONS, INPUTS = 10000, (1.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def torch():
    import torch as t

    def step():
        x = [t.tensor(v, dtype=t.float64, requires_grad=True) for v in INPUTS]
        s, u = x[0], x[1]
        for i in range(OPERATIONS // 10):
            a, b = x[i % 8], x[(i + 3) % 8]
            u = t.sin(s * a + b) * 0.75
            s = (u * b - s * 0.25) * a + u * 0.125
        value = s + u
        value.backward()
        return value.item()

    return {"scalar program of 10,000 operations, value and gradient, traced": step}
