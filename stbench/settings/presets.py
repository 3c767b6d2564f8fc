"""The presets, side by side: how long to train, how to sample, how to judge.

| preset | where | what for |
|---|---|---|
| smoke | any CPU, seconds | does every stage run |
| demo | 2 CPU cores, minutes | a network that visibly learns |
| small | one GPU, hours | ablations between variants |
| paper | eight GPUs, a week | the published recipe of Latte (arXiv 2401.03048 and the authors' training files) |

What a preset changes in a variant or a dataset stands in that one's YAML file.
"""

from __future__ import annotations

from typing import Any

from stbench.errors import unknown_name

DEFAULT_PRESET = "small"

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "attention": "math",
        "autoencoder.name": "pixels",
        "diffusion.objective": "flow",
        "train.steps": 6,
        "train.batch_size": 4,
        "train.lr": 1e-3,
        "train.ema_decay": 0.9,
        "train.checkpoint_every": 3,
        "eval.num_clips": 8,
        "eval.num_sampling_steps": 2,
        "eval.batch_size": 8,
        "eval.every": 0,
        "eval.validation_clips": 8,
        "eval.validation_every": 3,
    },
    "demo": {
        "attention": "math",  # what `auto` picks may differ from day to day, and with it the last digits
        "autoencoder.name": "pixels",
        "diffusion.objective": "flow",
        "diffusion.timestep_shift": 4.0,  # the way that a clip moves is settled while it is nearly all noise
        "train.steps": 1800,
        "train.batch_size": 8,
        "train.lr": 6e-3,  # constant: what is read off the curve at an earlier step is a shorter training's
        "train.lr_warmup_steps": 50,
        "train.ema_decay": 0.99,
        "train.checkpoint_every": 600,
        "eval.num_clips": 256,
        "eval.num_sampling_steps": 16,
        "eval.batch_size": 64,
        "eval.every": 600,
        "eval.validation_clips": 64,  # seeds move the loss by more than other clips would
        "eval.validation_every": 180,
    },
    "small": {
        "autoencoder.name": "pixels",
        "diffusion.objective": "ddpm",
        "train.steps": 50_000,
        "train.batch_size": 16,
        "train.lr": 1e-4,
        "train.ema_decay": 0.999,
        "train.checkpoint_every": 5_000,
        "train.num_workers": 4,
        "eval.num_clips": 2048,
        "eval.num_sampling_steps": 50,
        "eval.batch_size": 32,
        "eval.every": 10_000,
        "eval.curve_clips": 256,
        "eval.validation_every": 5_000,
    },
    "paper": {
        "autoencoder.name": "sd-vae",
        "diffusion.objective": "ddpm",
        "train.steps": 1_000_000,
        "train.batch_size": 40,  # 5 clips on each of 8 GPUs
        "train.lr": 1e-4,
        "train.ema_decay": 0.9999,
        "train.gradient_clip_norm": 0.1,
        "train.gradient_clip_from_step": 100_000,
        "train.checkpoint_every": 10_000,
        "train.num_workers": 8,
        "eval.num_clips": 2048,
        "eval.num_sampling_steps": 250,
        "eval.batch_size": 16,
        "eval.every": 0,
        "eval.untrained": False,
        "eval.validation_every": 100_000,
        "protocol": "latte-2048-16f",
    },
}


def check_preset(name: object) -> str:
    """Return `name` when it is a preset's, or raise the error that lists them."""
    if not isinstance(name, str) or name not in PRESETS:
        raise unknown_name("preset", str(name), PRESETS)
    return name
