import math

DTYPES = {"f32": "float32", "f64": "float64"}


def data(dtype):
    def weight(shape, seed, fan):
        return fill(shape, seed, scale=1 / math.sqrt(fan), dtype=dtype)

    p = [weight((8, 1, 3, 3), 1, 9), weight((16, 8, 3, 3), 2, 72), weight((784, 10), 3, 784)]
    return p, fill((32, 1, 28, 28), 4, dtype=dtype), labels(32, 10)


def torch():
    import torch as t
    from torch.nn import functional as F

    def make(dtype):
        p, x, y = data(dtype)
        p, x, y = [t.from_numpy(v).requires_grad_() for v in p], t.from_numpy(x), t.from_numpy(y)

        def run():
            for v in p:
                v.grad = None
            h = F.max_pool2d(F.relu(F.conv2d(x, p[0], padding=1)), 2)
            h = F.max_pool2d(F.relu(F.conv2d(h, p[1], padding=1)), 2)
            value = F.cross_entropy(h.reshape(32, 784) @ p[2], y)
            value.backward()
            return value.detach()

        return run

    return {f"CNN 8-16, batch 32, {name}": make(dtype) for name, dtype in DTYPES.items()}


def jax():
    import jax as j
    import jax.numpy as jnp

    def pool(h):
        n, c, height, width = h.shape
        return h.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))

    def make(dtype):
        p, x, y = data(dtype)
        p, x, y = [jnp.array(v) for v in p], jnp.array(x), jnp.array(y)

        def loss(p, x, y):
            h = pool(j.nn.relu(j.lax.conv(x, p[0], (1, 1), "SAME")))
            h = pool(j.nn.relu(j.lax.conv(h, p[1], (1, 1), "SAME")))
            z = h.reshape(32, 784) @ p[2]
            return -jnp.take_along_axis(j.nn.log_softmax(z), y[:, None], 1).mean()

        both = j.jit(j.value_and_grad(loss))

        def run():
            value, gradients = both(p, x, y)
            gradients[0].block_until_ready()
            return value

        return run

    return {f"CNN 8-16, batch 32, {name}": make(dtype) for name, dtype in DTYPES.items()}
