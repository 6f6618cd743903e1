"""SciPy's minimizers (under `numpy`) and torch's Adam on the cases of optim.lua, with exact derivatives by hand."""


def numpy():
    import numpy as np
    import scipy.optimize as so

    cases = {}

    def quadratic(n):
        d, x0 = np.linspace(1, 1000, n), fill((n,), 1)

        def f(x):
            g = d * x
            return 0.5 * (g @ x), g

        options = {"maxiter": 40, "maxcor": 10, "ftol": 0, "gtol": 0, "maxfun": 10**6}
        return lambda: so.minimize(f, x0, jac=True, method="L-BFGS-B", options=options).nit

    for n in (100, 10000, 1000000):
        cases[f"L-BFGS, 40 iterations, quadratic, n = {n}"] = quadratic(n)

    def bounded(n):
        d, target, x0 = np.linspace(1, 1000, n), fill((n,), 2), fill((n,), 1)

        def f(x):
            off = x - target
            g = d * off
            return 0.5 * (g @ off), g

        options = {"maxiter": 40, "maxcor": 10, "ftol": 0, "gtol": 0, "maxfun": 10**6}
        bounds = so.Bounds(-0.5, 0.5)
        return lambda: so.minimize(f, x0, jac=True, method="L-BFGS-B", bounds=bounds, options=options).nit

    cases["L-BFGS with bounds, 40 iterations, n = 1000000"] = bounded(1000000)

    def minimize(method, options):
        x0 = np.full(50, 1.3)

        def f(x):
            return so.rosen(x), so.rosen_der(x)

        hessp = so.rosen_hess_prod if method in ("Newton-CG", "trust-ncg") else None
        return lambda: so.minimize(f, x0, jac=True, hessp=hessp, method=method, options=options).fun + 1

    for ours, theirs, options in (("lbfgs", "L-BFGS-B", {"gtol": 1e-5, "ftol": 0, "maxiter": 10000, "maxfun": 10**5}),
                                  ("bfgs", "BFGS", {"gtol": 1e-5}), ("newton_cg", "Newton-CG", {"xtol": 1e-8}),
                                  ("trust_ncg", "trust-ncg", {"gtol": 1e-5})):
        cases[f"{ours}, Rosenbrock, n = 50, to 1e-5"] = minimize(theirs, options)

    t = np.linspace(0, 5, 1000)
    y = 3 * np.exp(-0.7 * t) * np.cos(2 * t) + 0.5

    def residual(p):
        return p[0] * np.exp(-p[1] * t) * np.cos(p[2] * t) + p[3] - y

    def jacobian(p):
        e, c = np.exp(-p[1] * t), np.cos(p[2] * t)
        return np.stack([e * c, -t * p[0] * e * c, -t * p[0] * e * np.sin(p[2] * t), np.ones_like(t)], axis=1)

    cases["least squares, 4 parameters, 1,000 residuals"] = lambda: so.least_squares(
        residual, [2, 0.5, 1.8, 0], jacobian, method="trf").x[1]

    import scipy.sparse as sp

    n = 100000
    rows = np.concatenate([np.repeat(np.arange(n - 1), 2), np.arange(n - 1, 2 * n - 1)])
    cols = np.concatenate([np.stack([np.arange(n - 1), np.arange(1, n)], 1).ravel(), np.arange(n)])

    def chain(x):
        return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1.1 - x])

    def chain_jacobian(x):
        values = np.concatenate([np.stack([-20 * x[:-1], np.full(n - 1, 10.0)], 1).ravel(), np.full(n, -1.0)])
        return sp.csr_matrix((values, (rows, cols)), shape=(2 * n - 1, n))

    cases["sparse least squares, bounds, 100,000 unknowns"] = lambda: so.least_squares(
        chain, np.full(n, 0.7), chain_jacobian, bounds=(-10, 10), method="trf", tr_solver="lsmr").x[0]
    return cases


def torch():
    import torch as t

    w = t.from_numpy(fill((10000000,), 1)).requires_grad_()
    w.grad = t.from_numpy(fill((10000000,), 2))
    adam = t.optim.Adam([w], foreach=False, fused=True)

    def step():
        adam.step()
        return 1

    return {"Adam step, 10,000,000 parameters": step}
