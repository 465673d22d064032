"""What is asked of a GPU. A stage returns what it has found: {"ok": ..., "summary": ..., ...}."""

from collections.abc import Callable
from dataclasses import dataclass

import checks
import exact
import probe
import roofline
import training
from place import Place
from processes import Failed

__all__ = ["ALL", "Failed", "LIMIT", "Stage"]


@dataclass
class Stage:
    limit: float  # seconds
    run: Callable[[Place, float], dict]  # until the second argument, of time.monotonic()


ALL = {
    "probe": Stage(40, probe.run),
    "tests": Stage(120, checks.tests),
    "exact": Stage(50, exact.run),
    "nccl": Stage(30, checks.nccl),
    "train": Stage(170, training.train),
    "roofline": Stage(40, roofline.run),
    "memory": Stage(45, training.memory),
    "profile": Stage(40, training.profile),
}
LIMIT = sum(stage.limit for stage in ALL.values())  # of all: under nine minutes
