import math

NETWORKS = [("MLP 4-8-2, batch 32", (4, 8, 2), 32, "float64"), ("MLP 784-128-10, batch 64, f32", (784, 128, 10), 64, "float32"),
            ("MLP 784-128-10, batch 64, f64", (784, 128, 10), 64, "float64")]


def data(sizes, batch, dtype):
    def weight(o, i, seed):
        return fill((o, i), seed, scale=1 / math.sqrt(i), dtype=dtype)

    p = [weight(sizes[1], sizes[0], 1), fill((sizes[1],), 2, scale=0.1, dtype=dtype), weight(sizes[2], sizes[1], 3),
         fill((sizes[2],), 4, scale=0.1, dtype=dtype)]
    return p, fill((batch, sizes[0]), 5, dtype=dtype), labels(batch, sizes[2])


def torch():
    import torch as t
    from torch.nn import functional as F

    def make(sizes, batch, dtype, adam):
        p, x, y = data(sizes, batch, dtype)
        p = [t.from_numpy(v).requires_grad_() for v in p]
        x, y = t.from_numpy(x), t.from_numpy(y)
        optimizer = t.optim.Adam(p, lr=1e-9) if adam else None

        def run():
            for v in p:
                v.grad = None
            value = F.cross_entropy(F.linear(F.relu(F.linear(x, p[0], p[1])), p[2], p[3]), y)
            value.backward()
            if optimizer:
                optimizer.step()
            return value.detach()

        return run

    cases = {f"{name}, value and gradient, {how}": make(*rest, False) for how in ("traced", "jit") for name, *rest in NETWORKS}
    cases.update({f"{name}, step with Adam": make(*rest, True) for name, *rest in NETWORKS[1:]})
    return cases


def jax():
    import jax as j
    import jax.numpy as jnp

    def loss(p, x, y):
        z = j.nn.relu(x @ p[0].T + p[1]) @ p[2].T + p[3]
        return -jnp.take_along_axis(j.nn.log_softmax(z), y[:, None], 1).mean()

    def tensors(*rest):
        p, x, y = data(*rest)
        return [jnp.array(v) for v in p], jnp.array(x), jnp.array(y)

    def make(*rest):
        p, x, y = tensors(*rest)
        both = j.jit(j.value_and_grad(loss))

        def run():
            value, gradients = both(p, x, y)
            gradients[0].block_until_ready()
            return value

        return run

    def adam(p, m, v, t, x, y):
        value, g = j.value_and_grad(loss)(p, x, y)
        t = t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
        p = [a - 1e-9 / (1 - 0.9**t) * b / (jnp.sqrt(c) / jnp.sqrt(1 - 0.999**t) + 1e-8) for a, b, c in zip(p, m, v)]
        return value, p, m, v, t

    def make_step(donated, *rest):
        p, x, y = tensors(*rest)
        step = j.jit(adam, donate_argnums=donated)
        state = [p, [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p], jnp.float32(0)]

        def run():
            value, *state[:] = step(*state, x, y)
            state[0][0].block_until_ready()
            return value

        return run

    cases = {f"{name}, value and gradient, {how}": make(*rest) for how in ("traced", "jit") for name, *rest in NETWORKS}
    name, *rest = NETWORKS[1]
    cases[f"{name}, step with Adam, jit"] = make_step((), *rest)
    cases[f"{name}, step with Adam, jit, donated"] = make_step((0, 1, 2, 3), *rest)
    return cases
