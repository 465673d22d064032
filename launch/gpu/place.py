"""Where the program, its tests and its data are: an unpacked archive or a clone."""

import importlib.util
import json
import os
import pathlib
import re
import sys
from dataclasses import dataclass, field

CONFIG = "gpt2_124m_cp.cfg"
PREPARED = "speeches-gpt2"  # its tokens, in the cache folder
TESTS = "tests/*/test_*gpu"  # in a build folder
# What a launcher leaves: the program would take itself for a rank of its job.
OF_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMIX_RANK", "MV2_COMM_WORLD_SIZE")


class Missing(Exception):
    """One line: what is not there, and what was expected."""


def refuse(text: str) -> int:
    print(f"gpu_check: {text}", file=sys.stderr)
    return 2


@dataclass
class Place:
    program: pathlib.Path
    tests: list[pathlib.Path]
    twin: pathlib.Path  # folder of the PyTorch twin
    data: pathlib.Path  # train.bin, val.bin and dataset.json
    tokenizer: str  # of the data
    config: pathlib.Path  # the model of the stages that measure
    out: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)


def torch_version(folder: pathlib.Path) -> str:
    """ "2.11.0", of the headers in PyTorch's folder."""
    header = folder / "include" / "torch" / "headeronly" / "version.h"
    text = header.read_text() if header.exists() else ""
    return ".".join(re.findall(r"^#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text, re.M)) or "unknown"


def torch_libraries(version: str) -> list[pathlib.Path]:
    """The folders of PyTorch's libraries and of NVIDIA's that came with it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Missing(f"{sys.executable} has no PyTorch: expected a python3 with {version}")
    root = pathlib.Path(spec.origin).resolve().parent
    if torch_version(root) != version:
        raise Missing(f"{root} is PyTorch {torch_version(root)}: expected {version}, for which the program was built")
    folders = [root / "lib"]
    for parent in sorted({root.parent, *(pathlib.Path(p) for p in sys.path if p)}):
        folders += sorted(p for p in parent.glob("nvidia/*/lib") if p.is_dir())
    return folders


def tokenizer_of(data: pathlib.Path) -> str:
    try:
        return json.loads((data / "dataset.json").read_text())["tokenizer"]
    except (OSError, ValueError, KeyError):
        raise Missing(
            f"{data} holds no prepared tokens: expected a folder that `mumoe data` has made (--data)"
        ) from None


def programs_of(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    return sorted(p for p in folder.glob(pattern) if p.is_file() and os.access(p, os.X_OK))


def cache_folder() -> pathlib.Path:
    of_user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "mumoe"
    return pathlib.Path(os.environ.get("MUMOE_CACHE") or of_user)


def build_folder(root: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(os.environ.get("MUMOE_GPU_BUILD") or root / "build" / "one-rank").resolve()


def find(here: pathlib.Path, out: pathlib.Path, config: pathlib.Path | None, data: pathlib.Path | None) -> Place:
    """`here` is the folder of gpu_check. Throws `Missing`."""
    environment = dict(os.environ)
    if (here / "bin" / "mumoe").exists():
        root, program, twin = here, here / "bin" / "mumoe", here / "twin"
        tests = programs_of(here, "bin/test_*")
        cache = here / "cache"
        environment["MUMOE_GOLDEN_DIR"] = str(here / "golden")
        before = environment.get("LD_LIBRARY_PATH")
        version = json.loads((here / "pack.json").read_text())["torch"]
        paths = [str(path) for path in (here / "lib", *torch_libraries(version))] + ([before] if before else [])
        environment["LD_LIBRARY_PATH"] = ":".join(paths)
        environment["MUMOE_CACHE"] = str(cache)  # with the tokenizer, which the program would fetch
    else:
        root, build = here.parent, build_folder(here.parent)
        program, twin = build / "mumoe", root / "tests" / "reference"
        if not program.exists():
            how = "launch/build one-rank mumoe gpu_tests"
            raise Missing(f"{program} is not there: expected an unpacked archive, or a build ({how})")
        tests = programs_of(build, TESTS)
        cache = cache_folder()
        environment["MUMOE_GOLDEN_DIR"] = str(root / "tests" / "golden")
    config = (config or root / "configs" / CONFIG).absolute()
    if not config.is_file():
        raise Missing(f"{config} is not there: expected a configuration (--config)")
    try:
        out.open("a").close()
    except OSError as error:
        raise Missing(f"{out}: {error.strerror}: expected a file that can be written (--out)") from None
    for name in OF_LAUNCHERS:
        environment.pop(name, None)
    data = (data or cache / "prepared" / PREPARED).absolute()
    return Place(program, tests, twin, data, tokenizer_of(data), config, out.absolute(), environment)
