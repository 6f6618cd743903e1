EACH, MEAN = "gradients of 256 examples, MLP 784-128-10, f32", "  gradient of their mean"


def data():
    p = [fill((128, 784), 1, 1 / 28, "float32"), fill((10, 128), 2, 0.1, "float32")]
    return p, fill((256, 784), 3, dtype="float32"), labels(256, 10)


def torch():
    import torch as t

    p, x, y = data()
    p, x, y = [t.from_numpy(v) for v in p], t.from_numpy(x), t.from_numpy(y)

    def loss(p, image, label):
        return t.nn.functional.cross_entropy((image @ p[0].T).tanh() @ p[1].T, label)

    each, mean = t.func.vmap(t.func.grad(loss), (None, 0, 0)), t.func.grad(loss)

    def each_example():
        gradients = each(p, x[:, None], y[:, None])
        return gradients[1][1, 0, 0], gradients

    def of_mean():
        gradients = mean(p, x, y)
        return gradients[1][0, 0], gradients

    return {EACH: each_example, MEAN: of_mean}


def jax():
    import jax as j
    import jax.numpy as jnp

    p, x, y = data()
    p, x, y = [jnp.array(v) for v in p], jnp.array(x), jnp.array(y)

    def loss(p, image, label):
        z = j.nn.log_softmax(jnp.tanh(image @ p[0].T) @ p[1].T)
        return -jnp.take_along_axis(z, label[:, None], 1).mean()

    each, mean = j.jit(j.vmap(j.grad(loss), (None, 0, 0))), j.jit(j.grad(loss))
    return {EACH: lambda: each(p, x[:, None], y[:, None])[1].block_until_ready()[1, 0, 0],
            MEAN: lambda: mean(p, x, y)[1].block_until_ready()[0, 0]}
