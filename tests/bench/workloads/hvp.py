HVP, GRADIENT = "HVP of Rosenbrock, n = 100,000", "gradient of Rosenbrock, n = 100,000"


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()


def torch():
    import torch as t

    x, v = t.from_numpy(fill((100000,), 1)), t.from_numpy(fill((100000,), 2))

    def hvp():
        y = x.clone().requires_grad_()
        (g,) = t.autograd.grad(rosenbrock(y), y, create_graph=True)
        (product,) = t.autograd.grad(g, y, v)
        return product[0], product

    def gradient():
        y = x.clone().requires_grad_()
        (g,) = t.autograd.grad(rosenbrock(y), y)
        return g[0], g

    return {HVP: hvp, GRADIENT: gradient}


def jax():
    import jax as j
    import jax.numpy as jnp

    x, v = jnp.array(fill((100000,), 1)), jnp.array(fill((100000,), 2))
    product = j.jit(lambda x, v: j.jvp(j.grad(rosenbrock), (x,), (v,))[1])
    gradient = j.jit(j.grad(rosenbrock))
    return {HVP: lambda: product(x, v).block_until_ready()[0], GRADIENT: lambda: gradient(x).block_until_ready()[0]}
