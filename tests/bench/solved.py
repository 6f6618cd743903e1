"""Problems solved and evaluations used, ours beside SciPy's, on the problems of More, Garbow and Hillstrom (1981).

solved.py LIBRARY EVALUATIONS: LIBRARY is mgh_problems.c built, so that SciPy calls the very functions, gradients and
Hessians that our minimizers are tested with; EVALUATIONS is what those took (tests/data/optim_evaluations.csv, which
optim_minimize_test checks). A problem is solved when no entry of the gradient at the point returned is above 1e-6,
whatever the minimizer says. Evaluations are summed over the problems that both solve: calls of f and of the gradient, and
products with the Hessian, a whole Hessian counting as many as it has columns.
"""
import csv
import ctypes
import sys
import warnings

import numpy as np
import scipy.optimize as so

TOL, MOST = 1e-6, 10000
PAIRS = [
    ("cg", "CG", {"gtol": TOL, "maxiter": MOST}),
    ("bfgs", "BFGS", {"gtol": TOL, "maxiter": MOST}),
    ("lbfgs", "L-BFGS-B", {"gtol": TOL, "ftol": 0, "maxiter": MOST, "maxfun": 10 * MOST}),
    ("lbfgsb", "L-BFGS-B", {"gtol": TOL, "ftol": 0, "maxiter": MOST, "maxfun": 10 * MOST}),
    ("newton_cg", "Newton-CG", {"xtol": 1e-10, "maxiter": MOST}),
    ("trust_ncg", "trust-ncg", {"gtol": TOL, "maxiter": MOST}),
    ("trust_exact", "trust-exact", {"gtol": TOL, "maxiter": MOST}),
    ("dogleg", "dogleg", {"gtol": TOL, "maxiter": MOST}),
]


class Problem:
    """One problem, which counts its evaluations."""

    def __init__(self, library, k):
        self.library, self.k, self.n = library, k, library.unknowns(k)
        self.name = library.name(k).decode()
        self.x0 = np.zeros(self.n)
        library.start(k, self.x0)
        self.counts = {"f": 0, "g": 0, "hv": 0}

    def f(self, x):
        self.counts["f"] += 1
        return self.library.value(self.k, np.ascontiguousarray(x, dtype=float))

    def g(self, x):
        self.counts["g"] += 1
        return self.gradient(x)

    def gradient(self, x):
        out = np.zeros(self.n)
        self.library.gradient(self.k, np.ascontiguousarray(x, dtype=float), out)
        return out

    def hessian(self, x):
        out = np.zeros((self.n, self.n))
        self.library.hessian(self.k, np.ascontiguousarray(x, dtype=float), out)
        return 0.5 * (out + out.T)

    def h(self, x):
        self.counts["hv"] += self.n
        return self.hessian(x)

    def hp(self, x, v):
        self.counts["hv"] += 1
        return self.hessian(x) @ v


def load(path):
    library = ctypes.CDLL(path)
    vector = np.ctypeslib.ndpointer(dtype=float, flags="C")
    library.name.restype = ctypes.c_char_p
    library.value.restype = ctypes.c_double
    library.value.argtypes = [ctypes.c_int, vector]
    library.start.argtypes = [ctypes.c_int, vector]
    library.gradient.argtypes = library.hessian.argtypes = [ctypes.c_int, vector, vector]
    return library


def solve(library, method, options):
    """By problem: the evaluations where it is solved, None where not."""
    results = {}
    for k in range(library.count()):
        p = Problem(library, k)
        second = {"hess": p.h} if method in ("trust-exact", "dogleg") else {}
        if method in ("Newton-CG", "trust-ncg"):
            second = {"hessp": p.hp}
        try:
            x = so.minimize(p.f, p.x0, jac=p.g, method=method, options=options, **second).x
            solved = np.max(np.abs(p.gradient(x))) <= TOL
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            solved = False
        results[p.name] = dict(p.counts) if solved else None
    return results


def read_ours(path):
    results = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts = {key: int(row[key]) for key in ("f", "g", "hv")}
            results.setdefault(row["method"], {})[row["problem"]] = counts if row["converged"] == "1" else None
    return results


def main():
    warnings.simplefilter("ignore")
    library, ours = load(sys.argv[1]), read_ours(sys.argv[2])
    print(f"{'method':12} {'solved':>12} {'f':>16} {'gradients':>16} {'products':>16}   (ours / SciPy's)")
    for name, method, options in PAIRS:
        mine, theirs = ours[name], solve(library, method, options)
        both = [p for p in theirs if theirs[p] and mine[p]]
        cells = [f"{sum(v is not None for v in mine.values())} / {sum(v is not None for v in theirs.values())}"]
        for key in ("f", "g", "hv"):
            cells.append(f"{sum(mine[p][key] for p in both)} / {sum(theirs[p][key] for p in both)}")
        print(f"{name:12} {cells[0]:>12} {cells[1]:>16} {cells[2]:>16} {cells[3]:>16}")
        if "-v" in sys.argv:
            for p in theirs:
                print(f"    {p:16} {mine[p]}  {theirs[p]}")


if __name__ == "__main__":
    main()
