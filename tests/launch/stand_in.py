"""A cell's process in place of `stbench run`: `stand_in.py records=DIR steps=N do=... seed=S --out OUT --resume`.

The record of its run lies ready in DIR, under the number of steps and the seed. It takes the run's lock, adds a line a
step to the loss curve from where that stands, and ends as it is told: "finish" puts the record into the run's folder,
"crash" says a line and ends with status 2, "signal=N" ends by that signal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from stbench.errors import StbenchError
from stbench.signals import Interrupted, heeded
from stbench.storage.lock import locked


def main() -> int:
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    record = Path(words["records"]) / f"{words['steps']}-{words['seed']}.json"
    folder = Path(sys.argv[sys.argv.index("--out") + 1]) / json.loads(record.read_text())["run_id"]
    curve = folder / "loss.csv"
    try:
        with heeded(), locked(folder):
            if (folder / "result.json").exists():
                return 0
            begun = curve.read_text().count("\n") if curve.exists() else 0
            with curve.open("a", buffering=1) as file:
                for step in range(begun + 1, int(words["steps"]) + 1):
                    file.write(f"{step},0.5,{os.getpid()}\n")
                    time.sleep(float(words.get("pause", 0)))
            if words["do"].startswith("signal="):
                os.kill(os.getpid(), int(words["do"].removeprefix("signal=")))
            if words["do"] == "crash":
                print("half a line", end="")
                raise StbenchError("the wheel came off")
            shutil.copy(record, folder / "result.json")
            return 0
    except (StbenchError, Interrupted) as error:
        print(f"\nstbench: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
