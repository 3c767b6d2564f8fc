"""Noise schedule, training objectives and samplers of video diffusion."""

from stbench.diffusion.loss import OBJECTIVES, LossTerms, diffusion_loss, sample_timesteps
from stbench.diffusion.samplers import SAMPLERS, sample
from stbench.diffusion.schedule import NoiseSchedule

__all__ = ["OBJECTIVES", "SAMPLERS", "LossTerms", "NoiseSchedule", "diffusion_loss", "sample", "sample_timesteps"]
