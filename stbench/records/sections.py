"""The sections of a record, as those who measure return them and those who report read them. Imports no torch.

Names carry their unit. A `None` is a figure that was not measured, or does not exist where it was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from stbench.records.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hardware; `fingerprint` is 12 hexadecimal digits that are equal on machines of equal hardware."""

    cpu: str  # model
    cores: int
    threads: int  # of the processor; how many torch used is in `CostConditions`
    memory_gib: int
    gpu: str | None = None  # name of the first
    gpu_memory_gib: int | None = None
    driver: str | None = None
    os: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Software:
    """Versions of what a result depends on; None for a package that is not installed."""

    stbench: str
    python: str
    cuda: str | None = None
    torch: str | None
    numpy: str | None = None
    diffusers: str | None = None
    xformers: str | None = None
    torchmetrics: str | None = None
    av: str | None = None
    commit: str | None = None  # of the checkout that stbench runs from
    dirty: bool | None = None  # whether tracked files differ from the commit


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters and operations of one clip; a multiply-accumulate (MAC) is two FLOPs.

    `gmacs` is what one network evaluation executes in matrix products, convolutions and attention, and
    `gmacs_train_step` a forward and a backward pass, in joint training of the clip and its images.
    """

    params_total: int
    params_trainable: int
    gmacs: float
    gflops: float
    gmacs_train_step: float | None = None
    gmacs_by_counter: dict[str, float] = field(default_factory=dict)
    gmacs_by_operator: dict[str, float] = field(default_factory=dict)
    gmacs_by_module: dict[str, float] = field(default_factory=dict)
    gmacs_by_part: dict[str, float] = field(default_factory=dict)
    attention_modules: int | None = None  # how many modules of the network attention= reaches
    conventions: dict[str, float] = field(default_factory=dict)  # papers' own counts by name, 10^9 operations
    convention_notes: tuple[str, ...] = ()  # what each of `conventions` counts, in the same order
    incomplete: tuple[str, ...] = ()  # where counters disagree, and operators that one does not know


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long one piece of work took: every sample after warm-up, in the order taken."""

    what: str  # name of the work
    samples: tuple[float, ...]
    median: float
    spread: float  # interquartile range; 0 for a single sample
    unit: Literal["s"] = "s"
    batch_size: int  # clips that one call processes
    clips_per_s: float  # by the median
    compile_s: float | None = None  # by which the first call exceeded the median: compilation, lazy initialisation
    # Of the time in which this process could have run, how much others had its processors; None where it is not told.
    waited_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class CostConditions:
    """What times and peaks of memory were measured under, nothing left "auto" but attention, which chooses by call.

    Costs are compared only where `but_load` is equal.
    """

    machine: str  # its fingerprint: a run may be resumed on another
    torch: str  # version
    device: str  # "cpu" or "cuda"
    threads: int  # of torch's operators (OMP_NUM_THREADS), not of the processor
    precision: str
    attention: str  # as asked for; how many modules of a network it reaches: `Counts.attention_modules`
    compile: str
    freed_memory: str  # as in `Training`
    objective: str
    latents: tuple[int, ...]  # (C, F, H, W)
    batch_size: int
    joint_images: int
    load_average: float | None = None  # before: threads that wanted a processor, mean of the last minute

    @property
    def but_load(self) -> CostConditions:
        """What must be equal where costs are compared."""
        return replace(self, load_average=None)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak memory of a training step: of tensors and of the allocator on a GPU, and of the process."""

    peak_allocated_mib: float | None = None
    peak_reserved_mib: float | None = None
    peak_rss_mib: float | None = None
    peak_rss_source: str | None = None  # VmHWM: of the step; ru_maxrss: since the process started

    @property
    def peak_mib(self) -> float | None:
        """The device's peak, or where there is none the process's."""
        return self.peak_rss_mib if self.peak_allocated_mib is None else self.peak_allocated_mib


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of a training step, on a device that tells it."""

    train_step_j: float | None = None
    source: str | None = None  # whose counter it is


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a backbone costs before it is trained. Without `timing`, it was only counted."""

    counts: Counts
    conditions: CostConditions | None = None  # of timing, memory and energy
    timing: dict[str, Timing] = field(default_factory=dict)  # forward, train_step, sampling_step
    memory: Memory | None = None
    energy: Energy | None = None  # left out of the record of a run


@dataclass(frozen=True, kw_only=True)
class AttentionChoice:
    """What `attention=auto` chose for calls of one kind.

    Shapes and strides are those of q, k, v and the bias, if there is one. `median_s` are seconds by backend, the
    fastest first, of the forward pass or, where `backward` is true, of both passes; those that could not run are left
    out.
    """

    device: str
    dtype: str
    autocast: bool
    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    backward: bool
    backend: str
    median_s: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How training went. `loss_final` is the mean over the last tenth of the steps."""

    steps: int
    unlogged_steps: int = 0  # whose lines of the loss curve were lost; the next four are of the others
    loss_curve: str  # name of the file
    loss_final: float | None = None
    wall_s: float  # of the steps alone, without evaluations and checkpoints
    clips_per_s: float | None = None
    precision: str
    attention: str | None  # None: attention= reaches no module of the network, whose attention is its own
    attention_choices: tuple[AttentionChoice, ...] = ()
    device: str
    freed_memory: str  # "kept" for the next tensor, or "returned" to the operating system
    dropped_videos: dict[str, int] = field(default_factory=dict)  # how many were found and not used, for each reason
    lost_videos: dict[str, str] = field(default_factory=dict)  # that could not be read after all, and why


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The quality at one step of training, under `Quality.curve_protocol`."""

    step: int
    fvd: float
    n_fake: int
    protocol_hash: str


@dataclass(frozen=True, kw_only=True)
class ValidationPoint:
    """The validation loss at one step of training."""

    step: int
    loss: float
    buckets: tuple[float, ...]  # as in `Validation`


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Loss on held-out clips at fixed timesteps and noise, the same for every network.

    Only the mean squared error counts, of the averaged weights, which every objective has. `protocol_hash` covers all
    that moves the figure but the network: figures of unequal hashes are not compared.
    """

    protocol_hash: str
    n_clips: int
    draws: int  # pairs of timestep and noise for each clip
    edges: tuple[float, ...]  # of the buckets of timesteps: shares of the noise schedule, from 0 to 1
    loss: float  # after the last step
    buckets: tuple[float, ...]  # the same by bucket, one fewer than `edges`
    curve: tuple[ValidationPoint, ...] = ()  # the last point is the figure above


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What passes through a trained network on some of the clips, timesteps and noise of the validation loss."""

    n_pairs: int  # of clip and timestep
    frame_similarity: tuple[float, ...]  # cosine, mean over pairs of a clip's frames, after each block, first to last

    @property
    def similarity_fall(self) -> float:
        """By how much the frames are less alike at their least alike than after the first block."""
        return self.frame_similarity[0] - min(self.frame_similarity)


@dataclass(frozen=True, kw_only=True)
class MotionScores:
    """What fitting finds in clips of moving shapes: shares of the clips, from 0 to 1, of which more is better."""

    n_clips: int
    direction: float  # move as their class says
    speed: float  # as fast as their class does
    color: float  # keep their colour
    shape: float  # keep their shape
    all: float  # all four at once


@dataclass(frozen=True, kw_only=True)
class EmbeddingCosines:
    """How near embeddings of images are to each other: mean cosines of all pairs, None where there are none.

    Sampled ones that come nearer to the real ones than those do to each other are too alike.
    """

    n_sampled: int
    n_real: int
    same_class: float | None  # a sampled and a real one of its class
    real_same_class: float | None  # two real ones of a class
    any_class: float | None  # a sampled and a real one, whatever their classes


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How near frames come to those that they ought to be, where part of a clip is given: means over frames."""

    n_frames: int
    psnr_db: float  # peak signal-to-noise ratio of 8-bit frames
    ssim: float | None = None  # structural similarity; None where frames are smaller than its window
    lpips: float | None = None  # distance for AlexNet; None where its weights are not, or frames are too small
    lpips_weights_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Distances between real and generated clips, None where refused; intervals are 95 % (low, high).

    `label` is "standard" (a published detector at its usual number of clips), "exploratory" (fewer), "internal" (a
    detector that only stbench knows) or "refused".
    """

    protocol: Protocol
    protocol_hash: str
    detector: str
    n_real: int
    n_fake: int
    fvd: float | None = None
    fvd_interval: tuple[float, float] | None = None  # if as many clips were drawn again; nothing of another training
    fvd_inf: float | None = None  # of infinitely many clips
    fvd_inf_interval: tuple[float, float] | None = None
    fvd_untrained: float | None = None  # of the network that training began with, under the same protocol
    fvd_real_vs_real: float | None = None  # of real clips against other real clips: the floor
    n_real_vs_real: int | None = None  # clips on each side of that: n_fake, or fewer where there are no more
    kvd: float | None = None
    kvd_interval: tuple[float, float] | None = None
    mmd: float | None = None  # kernel and scale of JEDi, unbiased
    mmd_interval: tuple[float, float] | None = None
    mmd_biased: float | None = None  # as JEDi's released code computes it
    precision: float | None = None
    recall: float | None = None
    density: float | None = None
    coverage: float | None = None
    inception_score: float | None = None  # where the detector is the classifier of one
    class_agreement: float | None = None  # share of the generated clips whose own class the detector names
    class_agreement_real: float | None = None  # the same of the real clips
    motion: MotionScores | None = None  # of the generated clips, where their shapes can be fitted
    motion_real: MotionScores | None = None  # of the real clips
    fidelity: Fidelity | None = None  # of the frames that were made, where part of a clip was given
    fidelity_plain: Fidelity | None = None  # of what anyone makes of that part without a network
    cosines: EmbeddingCosines | None = None  # of a prior, which makes embeddings
    refused: str | None = None  # why there is no FVD, one line
    label: str
    curve: tuple[CurvePoint, ...] = ()
    curve_protocol: Protocol | None = None


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage made, and what that took.

    Attributes:
        run: its folder.
        task: as of the run.
        shape: (N, F, H, W) of the clips that it made; (N, 1, 1, 1) of embeddings.
        windows: how often its network's clips follow each other in one of these.
        gmacs: 10^9 multiply-accumulates of one clip: all network evaluations of all its windows.
        seconds: of all clips, with the autoencoder, from an idle device to an idle device.
    """

    run: str
    task: str
    shape: tuple[int, int, int, int]
    windows: int
    gmacs: float
    seconds: float
