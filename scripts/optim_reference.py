#!/usr/bin/env python3
"""Writes tests/data/optim_reference.csv: trajectories of torch.optim in float64, and learning rates of
torch.optim.lr_scheduler. Needs PyTorch; run from the repository's root when a rule or an option is added.

Row: kind, name, options (k=v;...), step, values. The gradient at step t (1, 2, ...) of parameter i (0, 1, ...) is
cos(0.7 i + 0.3 t) * (1 + p_i) + 0.1 p_i^3.
"""
import csv
import math

import torch

START = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5]
STEPS = {1, 2, 3, 7, 15, 40}

RULES = [
    ("sgd", torch.optim.SGD, [
        {"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.05, "momentum": 0.9, "nesterov": 1}, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "maximize": 1}]),
    ("adam", torch.optim.Adam, [
        {}, {"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.1}, {"lr": 0.1, "amsgrad": 1, "betas": "0.8,0.9"},
        {"lr": 0.1, "eps": 1e-3, "maximize": 1}]),
    ("adamw", torch.optim.AdamW, [{}, {"lr": 0.1, "weight_decay": 0.2}, {"lr": 0.1, "amsgrad": 1}]),
    ("amsgrad", lambda p, **o: torch.optim.Adam(p, amsgrad=True, **o), [{"lr": 0.1, "betas": "0.5,0.6"}]),
    ("nadam", torch.optim.NAdam, [
        {}, {"lr": 0.1, "momentum_decay": 0.01}, {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": 1}]),
    ("radam", torch.optim.RAdam, [
        {}, {"lr": 0.1, "betas": "0.8,0.9"}, {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": 1}]),
    ("adamax", torch.optim.Adamax, [{}, {"lr": 0.1, "weight_decay": 0.1, "betas": "0.7,0.8"}]),
    ("rmsprop", torch.optim.RMSprop, [
        {}, {"lr": 0.05, "alpha": 0.9}, {"lr": 0.05, "momentum": 0.5}, {"lr": 0.05, "centered": 1},
        {"lr": 0.05, "centered": 1, "momentum": 0.5, "weight_decay": 0.1}]),
    ("adagrad", torch.optim.Adagrad, [
        {}, {"lr": 0.5, "lr_decay": 0.1}, {"lr": 0.5, "initial_accumulator_value": 0.3, "weight_decay": 0.1}]),
    ("adadelta", torch.optim.Adadelta, [{}, {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1}]),
    ("rprop", torch.optim.Rprop, [{}, {"lr": 0.1, "etas": "0.4,1.5", "step_sizes": "0.01,0.3"}]),
    ("asgd", torch.optim.ASGD, [{}, {"lr": 0.1, "lambd": 0.01, "alpha": 0.6, "t0": 5, "weight_decay": 0.1}]),
]

SCHEDULES = [
    ("constant", "ConstantLR", [{}, {"factor": 0.5, "total_iters": 4}]),
    ("step", "StepLR", [{"step_size": 3}, {"step_size": 5, "gamma": 0.5}]),
    ("multistep", "MultiStepLR", [{"milestones": "2,5,30", "gamma": 0.3}]),
    ("exponential", "ExponentialLR", [{"gamma": 0.9}]),
    ("linear", "LinearLR", [{}, {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 10}]),
    ("cosine", "CosineAnnealingLR", [{"T_max": 10}, {"T_max": 50, "eta_min": 0.01}]),
    ("cosine_restarts", "CosineAnnealingWarmRestarts", [{"T_0": 5}, {"T_0": 4, "T_mult": 2, "eta_min": 0.01}]),
    ("one_cycle", "OneCycleLR", [
        {"max_lr": 0.5, "total_steps": 45},
        {"max_lr": 0.5, "total_steps": 45, "pct_start": 0.4, "anneal_strategy": "linear", "three_phase": 1}]),
    ("cyclic", "CyclicLR", [
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5},
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "step_size_down": 8, "mode": "triangular2"},
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "mode": "exp_range", "gamma": 0.95}]),
    ("polynomial", "PolynomialLR", [{}, {"total_iters": 20, "power": 2.0}]),
    ("plateau", "ReduceLROnPlateau", [
        {"factor": 0.5, "patience": 2}, {"factor": 0.5, "patience": 1, "cooldown": 3, "min_lr": 0.001, "threshold": 0.1},
        {"factor": 0.1, "patience": 3, "threshold_mode": "abs", "mode": "max"}]),
]
FLAGS = {"nesterov", "maximize", "amsgrad", "decoupled_weight_decay", "centered", "three_phase"}
TUPLES = {"betas", "etas", "step_sizes"}


def arguments(options):
    out = {}
    for key, value in options.items():
        if key in FLAGS:
            value = bool(value)
        elif key in TUPLES:
            value = tuple(float(v) for v in value.split(","))
        elif key == "milestones":
            value = [int(v) for v in value.split(",")]
        out[key] = value
    return out


def text(options):
    return ";".join(f"{key}={value}" for key, value in options.items())


def trajectory(make, options):
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([p], **arguments(options))
    i = torch.arange(len(START), dtype=torch.float64)
    for step in range(1, max(STEPS) + 1):
        with torch.no_grad():
            p.grad = torch.cos(0.7 * i + 0.3 * step) * (1 + p) + 0.1 * p ** 3
        optimizer.step()
        if step in STEPS:
            yield step, p.tolist()


def rates(name, options):
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments(options))
    for step in range(max(STEPS) + 1):
        yield step, [optimizer.param_groups[0]["lr"]]
        optimizer.step()
        if name == "ReduceLROnPlateau":
            schedule.step(2.0 + math.cos(0.9 * step) + 3.0 / (1 + step))
        else:
            schedule.step()


def muon():
    """The rule's own iteration in float64: torch.optim.Muon runs it in bfloat16."""
    w = torch.tensor(START, dtype=torch.float64).reshape(2, 3)
    i = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    buffer = torch.zeros_like(w)
    for step in range(1, max(STEPS) + 1):
        g = torch.cos(0.7 * i + 0.3 * step) * (1 + w) + 0.1 * w ** 3
        buffer = buffer.lerp(g, 0.05)
        x = g.lerp(buffer, 0.95)
        x = x / x.norm().clamp(min=1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        w = w * (1 - 0.02 * 0.1) - 0.02 * x
        if step in STEPS:
            yield step, w.flatten().tolist()


def main():
    torch.set_default_dtype(torch.float64)  # else nadam and asgd keep scalars of their state in float32
    with open("tests/data/optim_reference.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_MINIMAL, delimiter="|")
        out.writerow(["kind", "name", "options", "step", "values", f"torch {torch.__version__.split('+')[0]}"])
        for name, make, cases in RULES:
            for options in cases:
                for step, values in trajectory(make, options):
                    out.writerow(["rule", name, text(options), step, " ".join(repr(v) for v in values)])
        for step, values in muon():
            out.writerow(["rule", "muon", "lr=0.02", step, " ".join(repr(v) for v in values)])
        for name, scheduler, cases in SCHEDULES:
            for options in cases:
                for step, values in rates(scheduler, options):
                    if step in STEPS or step < 25:
                        out.writerow(["schedule", name, text(options), step, " ".join(repr(v) for v in values)])


if __name__ == "__main__":
    main()
