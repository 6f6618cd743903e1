import math

DTYPES = {"f32": "float32", "f64": "float64"}


def data(dtype):
    p = []
    for k, (o, i) in enumerate([(64, 64)] * 4 + [(128, 64), (64, 128)]):
        seed = 2 * (k + 1)
        p += [fill((o, i), seed, scale=1 / math.sqrt(i), dtype=dtype), fill((o,), seed + 1, scale=0.1, dtype=dtype)]
    return p, fill((8, 64, 64), 50, dtype=dtype)


def torch():
    import torch as t
    from torch.nn import functional as F

    def make(dtype):
        p, x = data(dtype)
        p, x = [t.from_numpy(v).requires_grad_() for v in p], t.from_numpy(x)

        def split(v):
            return v.reshape(8, 64, 4, 16).transpose(1, 2)

        def run():
            for v in p:
                v.grad = None
            n = F.layer_norm(x, (64,))
            q, k, v = (split(F.linear(n, p[2 * i], p[2 * i + 1])) for i in range(3))
            mixed = ((q @ k.transpose(2, 3)) / 4).softmax(3) @ v
            h = x + F.linear(mixed.transpose(1, 2).reshape(8, 64, 64), p[6], p[7])
            h = h + F.linear(F.gelu(F.linear(F.layer_norm(h, (64,)), p[8], p[9])), p[10], p[11])
            value = h.square().mean()
            value.backward()
            return value.detach()

        return run

    return {f"transformer block 64, 4 heads, 8 x 64, {name}": make(dtype) for name, dtype in DTYPES.items()}


def jax():
    import jax as j
    import jax.numpy as jnp

    def make(dtype):
        p, x = data(dtype)
        p, x = [jnp.array(v) for v in p], jnp.array(x)

        def split(v):
            return v.reshape(8, 64, 4, 16).transpose(0, 2, 1, 3)

        def norm(v):
            c = v - v.mean(2, keepdims=True)
            return c / jnp.sqrt(jnp.square(c).mean(2, keepdims=True) + 1e-5)

        def loss(p, x):
            n = norm(x)
            q, k, v = (split(n @ p[2 * i].T + p[2 * i + 1]) for i in range(3))
            mixed = j.nn.softmax(q @ k.transpose(0, 1, 3, 2) / 4) @ v
            h = x + mixed.transpose(0, 2, 1, 3).reshape(8, 64, 64) @ p[6].T + p[7]
            h = h + j.nn.gelu(norm(h) @ p[8].T + p[9], approximate=False) @ p[10].T + p[11]
            return jnp.square(h).mean()

        both = j.jit(j.value_and_grad(loss))

        def run():
            value, gradients = both(p, x)
            gradients[0].block_until_ready()
            return value

        return run

    return {f"transformer block 64, 4 heads, 8 x 64, {name}": make(dtype) for name, dtype in DTYPES.items()}
