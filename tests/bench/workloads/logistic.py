ROWS = (569, 100000)


def data(rows):
    return fill((rows, 30), 1), (fill((rows,), 2) > 0).astype("float64"), fill((30,), 3, scale=0.1)


def torch():
    import torch as t

    def step(rows):
        x, y, w = (t.from_numpy(v) for v in data(rows))
        w.requires_grad_()

        def run():
            w.grad = None
            z = x @ w
            value = (t.nn.functional.softplus(z) - y * z).mean()
            value.backward()
            return value.detach()

        return run

    return {f"logistic regression {n} x 30, {how}": step(n) for n in ROWS for how in ("traced", "jit")}


def jax():
    import jax as j
    import jax.numpy as jnp

    def step(rows):
        x, y, w = (jnp.array(v) for v in data(rows))

        def loss(w, x, y):
            z = x @ w
            return (j.nn.softplus(z) - y * z).mean()

        both = j.jit(j.value_and_grad(loss))

        def run():
            value, gradient = both(w, x, y)
            gradient.block_until_ready()
            return value

        return run

    return {f"logistic regression {n} x 30, {how}": step(n) for n in ROWS for how in ("traced", "jit")}
