DTYPES = {"f32": "float32", "f64": "float64"}


def data(dtype):
    p = [fill(shape, seed, scale=1 / 8, dtype=dtype) for seed, shape in ((1, (256, 32)), (2, (256, 64)), (3, (256,)), (4, (256,)))]
    return p, fill((16, 50, 32), 5, dtype=dtype)


def torch():
    import torch as t

    def make(dtype):
        p, x = data(dtype)
        layer, x = t.nn.LSTM(32, 64, batch_first=True).to(getattr(t, dtype)), t.from_numpy(x)
        with t.no_grad():
            for parameter, v in zip(layer.parameters(), p):
                parameter.copy_(t.from_numpy(v))

        def run():
            layer.zero_grad()
            value = layer(x)[0].square().mean()
            value.backward()
            return value.detach()

        return run

    return {f"LSTM 32-64, 50 times, batch 16, {name}": make(dtype) for name, dtype in DTYPES.items()}


def jax():
    import jax as j
    import jax.numpy as jnp

    def make(dtype):
        p, x = data(dtype)
        p, x = [jnp.array(v) for v in p], jnp.array(x)

        def loss(p, x):
            inputs = (x @ p[0].T + p[2]).transpose(1, 0, 2)

            def step(state, gates):
                h, c = state
                i, f, g, o = jnp.split(gates + h @ p[1].T + p[3], 4, 1)
                c = j.nn.sigmoid(f) * c + j.nn.sigmoid(i) * jnp.tanh(g)
                h = j.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            zero = jnp.zeros((16, 64), x.dtype)
            return jnp.square(j.lax.scan(step, (zero, zero), inputs)[1]).mean()

        both = j.jit(j.value_and_grad(loss))

        def run():
            value, gradients = both(p, x)
            gradients[0].block_until_ready()
            return value

        return run

    return {f"LSTM 32-64, 50 times, batch 16, {name}": make(dtype) for name, dtype in DTYPES.items()}
