"""One run: what it needs, its stages, its folder, how it samples and is judged. Open stages.py first.

`stbench.run` is also what runs one from Python. As the import of any module in here makes this package the attribute of
`stbench`, the package itself can be called.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stbench.settings.resolve import Words


class _CallableRoom(ModuleType):
    def __call__(self, settings: Words, out: Path | str = "runs", resume: bool = False) -> Path:
        """Train, sample and measure one configuration, as `stbench run` does.

        Args:
            settings: as on the command line, `["variant=latte1", "dataset=shapes", "train.lr=1e-3"]`, or by name,
                `{"variant": "latte1", "dataset": "shapes", "train.lr": 1e-3}`.
            out: folder of runs; this one gets a folder of its own in it.
            resume: go on from the newest checkpoint; of a finished run, do nothing.

        Returns:
            The run's folder, for `load_run`.

        Raises:
            StbenchError: when something is missing or does not fit, before anything is written.
            FinishedInPart: when training diverged or memory ran out; the record says so.
        """
        from stbench.run.stages import run
        from stbench.settings.resolve import resolve

        return run(resolve(settings), Path(out), resume)


sys.modules[__name__].__class__ = _CallableRoom
