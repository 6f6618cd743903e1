def torch():
    import torch as t

    a, b, x = t.from_numpy(fill((100, 100), 1, 0.1)), t.from_numpy(fill((100, 100), 2, 0.1)), t.from_numpy(fill((100,), 3))
    jacobian = t.func.jacrev(lambda v: b @ (a @ v).tanh())

    def step():
        matrix = jacobian(x)
        return matrix[2, 4], matrix

    return {"Jacobian of an MLP 100 -> 100": step}


def jax():
    import jax as j
    import jax.numpy as jnp

    a, b, x = jnp.array(fill((100, 100), 1, 0.1)), jnp.array(fill((100, 100), 2, 0.1)), jnp.array(fill((100,), 3))
    jacobian = j.jit(j.jacrev(lambda v: b @ jnp.tanh(a @ v)))
    return {"Jacobian of an MLP 100 -> 100": lambda: jacobian(x).block_until_ready()[2, 4]}
