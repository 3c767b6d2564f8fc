"""Whether the shapes of a clip move as its class says: exact scores of clips that ought to be like those of `Shapes`.

Every motion of the dataset is fitted to what is seen of a shape by the very function that moves the shapes of real
clips, `motions.move`: what chance decides there is searched for here, speeds beyond the class's range included. Where
in the frame a motion begins, how large a shape is and how it is turned at first are left free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stbench.data.clips import ClipDataset
from stbench.data.synthetic.motions import Draws, Pose, move
from stbench.data.synthetic.noise import Floats
from stbench.data.synthetic.shapes import Shapes
from stbench.metrics.shape_tracks import ShapeFinder, Tracks
from stbench.records.sections import MotionScores

MOST_CLIPS = 512  # that are judged: their share is known within 4 percent points, at 95 % confidence

# What still counts; how much nearer real clips come is in docs/metrics.md.
LARGEST_ERROR = 0.05  # of a fit: root mean square over the frames, in widths of a frame
LEAST_OVERLAP = 0.6  # of what is seen with a drawn shape
OTHER_KIND = 0.05  # by how much more it may overlap with a shape of another kind
LARGEST_GROWTH = 0.25  # of a radius against its mean, as a logarithm; what the motion itself does to it is no growth
SPEED_TOLERANCE = 0.25  # beyond the class's range on either side, in widths of that range

# The search for the draws of a motion: many, more where more of them matter, then some around each of the best.
_FIRST = {"orbit": 1024, "bounce": 4096}
_FIRST_OF_OTHERS, _KEPT, _AROUND = 128, 4, 8
_WIDTHS = 0.25 * 0.65 ** np.arange(10)
_FARTHEST = 0.1  # a frame that is farther off counts as this far, in widths of a frame
_LOWEST_SPEED, _SPEEDS = -1.0, 3.0  # the draws of a speed that are tried begin there and reach so far; real ones: [0,1)

Verdict = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MotionVerdicts:
    """What was decided about each of N clips, (N,) each; the names are those of `MotionScores`."""

    direction: Verdict
    speed: Verdict
    color: Verdict
    shape: Verdict


class _Fit(NamedTuple):
    """The best fit of one motion to each shape, (N,K) each, or of several, (M,N,K)."""

    error: Floats  # root mean square over the frames, in widths of a frame
    speed: Floats  # as a draw: [0,1) is the range of the motion
    growth: Floats  # largest change of the radius, with or without the motion's taken out, as a logarithm


class MotionJudge:
    """Judges clips by a dataset of shapes.

    Args:
        dataset: what the clips ought to be like: labels are its classes, and time passes as in its own clips.
    """

    def __init__(self, dataset: Shapes) -> None:
        self.dataset, self.finder = dataset, ShapeFinder(dataset)

    def judge(self, clips: NDArray[np.uint8], labels: NDArray[np.int64]) -> MotionVerdicts:
        """Decide about clips (N,F,H,W,3) of classes (N,); one without a shape in sight is wrong in everything."""
        tracks = self.finder.find(clips)
        by_motion = [_fit(each, tracks, self.dataset.time) for each in self.dataset.motions]
        fits = _Fit(*(np.stack(each) for each in zip(*by_motion, strict=True)))
        motion = fits.error.argmin(axis=0)  # (N,K)
        fit = _Fit(*(np.take_along_axis(each, motion[None], axis=0)[0] for each in fits))
        seen = np.median(tracks.overlap, axis=-1) > LEAST_OVERLAP
        moves = seen & (fit.error < LARGEST_ERROR)
        in_range = np.abs(fit.speed - 0.5) < 0.5 + SPEED_TOLERANCE
        same_color = tracks.color == tracks.color[:, :1]
        same_kind = (tracks.overlap > LEAST_OVERLAP) & (tracks.best_overlap - tracks.overlap < OTHER_KIND)
        same_size = (fit.growth < LARGEST_GROWTH)[..., None]
        return MotionVerdicts(
            direction=(moves & (motion == labels[:, None])).all(axis=1),
            speed=(moves & in_range).all(axis=1),
            color=seen.all(axis=1) & same_color.all(axis=1),
            shape=np.all(same_kind & same_size, axis=(1, 2)),
        )


class MotionTally:
    """Judges the first `MOST_CLIPS` clips of many, batch after batch.

    Args:
        dataset: as of `MotionJudge`. None but `Shapes` says enough, and several shapes in a clip hide each other.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        self.judge = MotionJudge(dataset) if isinstance(dataset, Shapes) and dataset.num_shapes == 1 else None
        self.verdicts: list[MotionVerdicts] = []
        self.num_clips = 0

    def add(self, clips: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Judge the next clips (N,F,H,W,3) of classes (N,)."""
        room = MOST_CLIPS - self.num_clips
        if self.judge and room:
            self.verdicts.append(self.judge.judge(clips[:room], labels[:room]))
            self.num_clips += len(clips[:room])

    def scores(self) -> MotionScores | None:
        """The shares of the clips so far, None where nothing could be judged."""
        if not self.verdicts:
            return None
        columns = zip(*(vars(each).values() for each in self.verdicts), strict=True)
        right = np.stack([np.concatenate(column) for column in columns])  # (4,N)
        shares = dict(zip(vars(self.verdicts[0]), right.mean(axis=1).tolist(), strict=True))
        return MotionScores(n_clips=self.num_clips, **shares, all=float(right.all(axis=0).mean()))


def _fit(motion: str, tracks: Tracks, time: Floats) -> _Fit:
    """Search for the draws with which a motion fits best: the same ones are tried for every clip."""
    chance = np.random.default_rng(0)
    first = chance.random((_FIRST.get(motion, _FIRST_OF_OTHERS), 1, 5), dtype=np.float32)
    error = _error(motion, first, tracks, time)[..., 0]  # (N,K,first)
    best = first[np.argpartition(error, _KEPT)[..., :_KEPT], 0]  # (N,K,kept,5)
    for width in _WIDTHS:
        steps = chance.uniform(-width, width, (_AROUND, 5)).astype(np.float32)
        steps[0] = 0
        around = np.clip(best[..., None, :] + steps, 0, 1)  # (N,K,kept,around,5)
        error = _error(motion, around, tracks, time)
        best = np.take_along_axis(around, error.argmin(-1)[..., None, None], axis=-2)[..., 0, :]
    winner = error.min(-1).argmin(-1)[..., None]  # (N,K,1)
    draws = np.take_along_axis(best, winner[..., None], axis=2)  # (N,K,1,5)
    scale = _pose(motion, draws, time).scale[:, :, 0]
    growth = [np.abs(_growth(tracks.radius, each)).max(axis=-1) for each in (scale, np.ones_like(scale))]
    return _Fit(
        error=error.min(axis=(-2, -1)),
        speed=_LOWEST_SPEED + _SPEEDS * draws[..., 0, 0],
        growth=np.minimum(*growth),
    )


def _error(motion: str, draws: Floats, tracks: Tracks, time: Floats) -> Floats:
    """How far off a motion with the draws (...,P,A,5) is, (N,K,P,A), in widths of a frame."""
    pose = _pose(motion, draws, time)
    x, y, radius, angle = (each[:, :, None, None] for each in (tracks.x, tracks.y, tracks.radius, tracks.angle))
    turns = tracks.symmetry[:, :, None, None, None]
    turned = _about_mean((angle - pose.angle) * turns / (2 * np.pi)) * 2 * np.pi / np.maximum(turns, 1)
    outline = radius.mean(-1, keepdims=True) ** 2 * (turned**2 + _growth(radius, pose.scale) ** 2)
    square = _about_mean(x - pose.x) ** 2 + _about_mean(y - pose.y) ** 2 + outline
    return np.sqrt(np.minimum(square, _FARTHEST**2).mean(-1))


def _pose(motion: str, draws: Floats, time: Floats) -> Pose:
    """The poses (...,F) of shapes with the draws (...,5) in [0,1]."""
    speed, *others = np.moveaxis(draws, -1, 0)[..., None]
    return move(motion, Draws(_LOWEST_SPEED + _SPEEDS * speed, *others), time)


def _growth(radius: Floats, scale: Floats) -> Floats:
    """The logarithm of a radius (...,F) without its mean and without the factor that the motion puts on it."""
    growth = np.log(radius / scale)
    return growth - growth.mean(-1, keepdims=True)


def _about_mean(turns: Floats) -> Floats:
    """Where on a circle of circumference 1 points (...,F) are, counted from their mean, the short way round."""
    away = turns - turns[..., :1]
    away -= np.round(away)
    away -= away.mean(-1, keepdims=True)
    return away - np.round(away)
