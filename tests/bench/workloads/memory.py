import resource

SELF_TIMED = True
NAME = "peak memory, 50 layers of 512, batch 256"


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def data():
    return [fill((512, 512), i, 0.1, "float32") for i in range(1, 51)], fill((256, 512), 60, dtype="float32")


def torch():
    import torch as t

    def step():
        p, x = data()
        p, h = [t.from_numpy(v).requires_grad_() for v in p], t.from_numpy(x)
        for w in p:
            h = (h @ w).tanh()
        value = h.square().mean()
        value.backward()
        return peak(), value.item()

    return {NAME: step}


def jax():
    import jax as j
    import jax.numpy as jnp

    def step():
        p, x = data()
        p, x = [jnp.array(v) for v in p], jnp.array(x)

        def loss(p):
            h = x
            for w in p:
                h = jnp.tanh(h @ w)
            return jnp.square(h).mean()

        value, gradients = j.jit(j.value_and_grad(loss))(p)
        gradients[0].block_until_ready()
        return peak(), float(value)

    return {NAME: step}
