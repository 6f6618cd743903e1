NAME = "GMM, 1,000 x 16, 10 components, value and gradient"


def data():
    return fill((10,), 1), fill((10, 16), 2), fill((10, 16), 3, 0.3), fill((1000, 1, 16), 4)


def torch():
    import torch as t

    *p, x = (t.from_numpy(v) for v in data())
    for v in p:
        v.requires_grad_()
    alpha, mean, scale = p

    def step():
        for v in p:
            v.grad = None
        terms = alpha + scale.sum(1) - 0.5 * ((x - mean) * scale.exp()).square().sum(2)
        value = (terms.logsumexp(1) - alpha.logsumexp(0)).sum()
        value.backward()
        return value.detach()

    return {NAME: step}


def jax():
    import jax as j
    import jax.numpy as jnp

    *p, x = (jnp.array(v) for v in data())

    def likelihood(p):
        alpha, mean, scale = p
        terms = alpha + scale.sum(1) - 0.5 * jnp.square((x - mean) * jnp.exp(scale)).sum(2)
        return (j.nn.logsumexp(terms, 1) - j.nn.logsumexp(alpha)).sum()

    both = j.jit(j.value_and_grad(likelihood))

    def step():
        value, gradients = both(p)
        gradients[0].block_until_ready()
        return value

    return {NAME: step}
