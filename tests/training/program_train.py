"""Trains the small recipe in the folder that is named, until it is killed or done; each step is a line."""

import sys
from pathlib import Path

from tests.training.runs import small_run
from tramontane.training.log import StepReport
from tramontane.training.ranks import join_ranks


def say(report: StepReport) -> None:
    print(report.step, flush=True)


if __name__ == "__main__":
    run, watcher = small_run(Path(sys.argv[1]), workers=int(sys.argv[2]), ranks=join_ranks())
    watcher.step = say  # type: ignore[method-assign]
    run.run()
