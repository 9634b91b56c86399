"""A whole job from Python: two made-up people, a consent record, progress, the result."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import gswap
from gswap.output.consent import Person, Scope, Validity
from gswap.people.clips import DemoConfig, demo_inputs
from gswap.portrait.config import preset


class Printer(gswap.StepObserver):
    """Says which step runs."""

    def started(self, step: str, number: int, count: int) -> None:
        """Called when a step begins."""
        print(f"{number}/{count} {step}")


def main(folder: Path, config: DemoConfig) -> gswap.SwapResult:
    """Swap the head of one made-up person onto the clip of another."""
    made = demo_inputs(folder, config)
    record = gswap.new_record(
        "synthetic",
        people=(Person("Synthetic person A", "source"), Person("Synthetic person B", "target")),
        scope=Scope("an example"),
        validity=Validity.one_year(dt.date.today()),
    )
    consent = folder / "consent.toml"
    gswap.save_record(record, consent)
    job = gswap.Job(
        sources=(made.source,),
        target=made.target,
        out=folder / "out.mp4",
        consent=consent,
        work=folder / "work",
        overwrite=True,
        settings=gswap.Settings(fit=preset("preview")),
    )
    result = gswap.run_job(job, Printer())
    print(result.out, result.report, *result.advice, sep="\n")
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]), DemoConfig(size=256, frames=40))
