"""The loops of loops.lua. torch.compile would unroll them: 10,000 steps."""
COMPILED = False

NAMES = [
    "10,000 steps of a sum, value",
    "10,000 steps of 5 scalar operations, value",
    "10,000 steps of 5 scalar operations, gradient",
    "1,000 steps of RK4, n = 10, value",
    "1,000 steps of RK4, n = 10, gradient",
    "Kalman filter, 4 states, 200 rows, gradient",
    "cart-pole, policy of 4-8-1, 200 steps, gradient",
    "RNN of width 16, 100 rows, gradient",
    "while_loop of about 1,100 scalar steps, value",
    "while_loop of about 1,100 scalar steps, gradient",
]


def problems(m, fori, until, array, roll):
    """The functions, written once: m is numpy's interface, fori(n, f, init) and until(test, f, init) are the loops.

    Each gets the differentiated argument(s) as a list."""

    def counting(args):
        return fori(10000, lambda i, x: x + args[0], array(0.0))

    def logistic_map(args):
        return fori(10000, lambda i, x: args[0] * x * (1 - x) + 0.01 * x, array(0.3))

    def oscillators(args):
        h = 0.01

        def field(v):
            return m.sin(roll(v)) - v

        def step(i, v):
            a = field(v)
            b = field(v + h / 2 * a)
            c = field(v + h / 2 * b)
            d = field(v + h * c)
            return v + h / 6 * (a + 2 * b + 2 * c + d)

        return (fori(1000, step, args[0]) ** 2).sum()

    def kalman(args):
        observed = array(fill((200, 2), 3))
        move = array([[1, 0, 0.1, 0], [0, 1, 0, 0.1], [0, 0, 1.0, 0], [0, 0, 0, 1]])
        see = array([[1.0, 0, 0, 0], [0, 1, 0, 0]])
        eye = array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        q, r = m.exp(args[0][0]) * eye, m.exp(args[0][1]) * eye[:2, :2]

        def step(t, s):
            mean, cov, total = s
            mean, cov = move @ mean, move @ cov @ move.T + q
            residual, spread = observed[t] - see @ mean, see @ cov @ see.T + r
            a, b, d = spread[0, 0], spread[0, 1], spread[1, 1]
            det = a * d - b * b
            inverse = m.stack([m.stack([d, -b]), m.stack([-b, a])]) / det
            gain = cov @ see.T @ inverse
            total = total + m.log(det) + residual @ (inverse @ residual)
            return mean + gain @ residual, cov - gain @ see @ cov, total

        return 0.5 * fori(200, step, (0 * eye[0], eye, array(0.0)))[2]

    def cart_pole(args):
        w1, w2 = args
        mass, pole, half, dt = 1.1, 0.1, 0.5, 0.02

        def step(i, s):
            x, v, a, w, cost = s
            force = 10 * m.tanh(w2 @ m.tanh(w1 @ m.stack([x, v, a, w])))
            sin, cos = m.sin(a), m.cos(a)
            t = (force + pole * half * w * w * sin) / mass
            turn = (9.8 * sin - cos * t) / (half * (4 / 3 - pole * cos * cos / mass))
            push = t - pole * half * turn * cos / mass
            return x + dt * v, v + dt * push, a + dt * w, w + dt * turn, cost + a * a

        zero = array(0.0)
        return fori(200, step, (zero, zero, array(0.05), zero, zero))[4]

    def recurrent(args):
        w, u = args
        rows = array(fill((100, 8), 3))
        return (fori(100, lambda t, h: m.tanh(w @ h + u @ rows[t]), array([0.0] * 16)) ** 2).sum()

    def falling(args):
        def step(s):
            x, y, vx, vy = s
            speed = m.sqrt(vx * vx + vy * vy)
            return (x + 0.001 * vx, y + 0.001 * vy, vx - 0.001 * 0.1 * speed * vx,
                    vy - 0.001 * (9.8 + 0.1 * speed * vy))

        return until(lambda s: s[1] >= 0, step, (array(0.0), array(1.0), args[0], array(5.0)))[0]

    y = [fill((10,), 1)]
    return [
        (counting, [3.2], False),
        (logistic_map, [3.2], False),
        (logistic_map, [2.7], True),
        (oscillators, y, False),
        (oscillators, y, True),
        (kalman, [[-2.0, -1.0]], True),
        (cart_pole, [fill((8, 4), 1), fill((8,), 2)], True),
        (recurrent, [fill((16, 16), 1, 0.2), fill((16, 8), 2)], True),
        (falling, [3.0], False),
        (falling, [3.0], True),
    ]


def torch():
    import torch as t

    def array(v):
        return t.as_tensor(v, dtype=t.float64)

    def fori(n, f, s):
        for i in range(n):
            s = f(i, s)
        return s

    def until(test, f, s):
        while test(s):
            s = f(s)
        return s

    def step(f, args, gradient):
        args = [array(a).requires_grad_(gradient) for a in args]

        def run():
            if not gradient:
                with t.no_grad():
                    return f(args)
            for a in args:
                a.grad = None
            f(args).backward()
            return args[0].grad.sum()

        return run

    made = problems(t, fori, until, array, lambda v: t.roll(v, 1))
    return {name: step(*problem) for name, problem in zip(NAMES, made)}


def jax():
    import jax as j
    import jax.numpy as jnp

    def fori(n, f, s):
        return j.lax.scan(lambda s, i: (f(i, s), None), s, jnp.arange(n))[0]

    def step(f, args, gradient):
        args = [jnp.array(a) for a in args]
        if gradient and f.__name__ == "falling":  # reverse mode of a while_loop is refused: forward mode
            g = j.jit(j.jacfwd(f))
        else:
            g = j.jit(j.grad(f) if gradient else f)

        def run():
            out = g(args)
            return jnp.sum(out[0] if gradient else out).block_until_ready()

        return run

    made = problems(jnp, fori, j.lax.while_loop, jnp.array, lambda v: jnp.roll(v, 1))
    return {name: step(*problem) for name, problem in zip(NAMES, made)}
