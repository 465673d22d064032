"""Where the program, its tests and its data are: an unpacked archive or a clone."""

import os
import pathlib
import sys
from dataclasses import dataclass, field


class Missing(Exception):
    """One line: what is not there, and what was expected."""


def refuse(text: str) -> int:
    print(f"gpu_check: {text}", file=sys.stderr)
    return 2


@dataclass
class Place:
    program: pathlib.Path
    tests: list[pathlib.Path]
    data: pathlib.Path
    config: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)


def torch_libraries() -> list[pathlib.Path]:
    """The folders of PyTorch's libraries and of NVIDIA's that came with it."""
    try:
        import torch
    except ImportError as error:
        raise Missing(f"{sys.executable} has no PyTorch ({error}): expected the one that the program was built for") from None
    root = pathlib.Path(torch.__file__).resolve().parent
    folders = [root / "lib"]
    for parent in {root.parent, *(pathlib.Path(p) for p in sys.path if p)}:
        folders += sorted(p for p in parent.glob("nvidia/*/lib") if p.is_dir())
    return folders


def find(here: pathlib.Path) -> Place:
    packed = here / "bin" / "mumoe"
    if packed.exists():
        tests = sorted((here / "bin").glob("test_*"))
        place = Place(packed, tests, here / "data", here / "configs" / "gpt2_124m_cp.cfg")
        libraries = [here / "lib", *torch_libraries()]
        os.environ["MUMOE_GOLDEN_DIR"] = str(here / "golden")
    else:
        build = pathlib.Path(os.environ.get("MUMOE_GPU_BUILD", here.parent / "build" / "one-rank")).resolve()
        program = build / "mumoe"
        if not program.exists():
            raise Missing(f"{program} is not there: expected an unpacked archive, or a build (launch/build one-rank)")
        tests = sorted(p for p in build.glob("tests/*/test_*gpu") if os.access(p, os.X_OK))
        cache = pathlib.Path(os.environ.get("MUMOE_CACHE", pathlib.Path.home() / ".cache" / "mumoe"))
        place = Place(program, tests, cache / "prepared" / "speeches-gpt2", here.parent / "configs" / "gpt2_124m_cp.cfg")
        libraries = []
    place.environment = dict(os.environ)
    if libraries:
        before = os.environ.get("LD_LIBRARY_PATH")
        paths = [str(p) for p in libraries] + ([before] if before else [])
        place.environment["LD_LIBRARY_PATH"] = ":".join(paths)
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMIX_RANK"):
        place.environment.pop(name, None)
    return place
