H = 0.01


def final(m, roll):
    def field(y):
        return m.sin(roll(y)) - y

    def run(y):
        for _ in range(100):
            a = field(y)
            b = field(y + H / 2 * a)
            c = field(y + H / 2 * b)
            d = field(y + H * c)
            y = y + H / 6 * (a + 2 * b + 2 * c + d)
        return (y * y).sum()

    return run


def torch():
    import torch as t

    f, y = final(t, lambda v: t.roll(v, 1)), t.from_numpy(fill((1000,), 1)).requires_grad_()

    def step():
        y.grad = None
        f(y).backward()
        return y.grad[0]

    return {f"RK4, 100 steps, n = 1,000, gradient, {how}": step for how in ("traced", "jit")}


def jax():
    import jax as j
    import jax.numpy as jnp

    def field(y):
        return jnp.sin(jnp.roll(y, 1)) - y

    def step(y, _):
        a = field(y)
        b = field(y + H / 2 * a)
        c = field(y + H / 2 * b)
        d = field(y + H * c)
        return y + H / 6 * (a + 2 * b + 2 * c + d), None

    gradient = j.jit(j.grad(lambda y: jnp.square(j.lax.scan(step, y, None, 100)[0]).sum()))
    y = jnp.array(fill((1000,), 1))
    return {f"RK4, 100 steps, n = 1,000, gradient, {how}": lambda: gradient(y).block_until_ready()[0] for how in ("traced", "jit")}
