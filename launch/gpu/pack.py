"""Makes the archive: on a build machine."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

from place import refuse

MOST_MIB = 48
# Of glibc, of PyTorch and of the CUDA that comes with it: they are there.
THERE = ("libc.so", "libm.so", "libdl.so", "librt.so", "libpthread.so", "libstdc++.so", "libgcc_s.so", "ld-linux",
         "libtorch", "libc10", "libgomp", "libcuda", "libcudart", "libcupti", "libnccl", "libcublas", "libcudnn",
         "libcusparse", "libcufft", "libcusolver", "libnvrtc", "libnvJitLink", "libnvshmem", "libcufile", "linux-vdso")


def run(command: list[str], root: pathlib.Path) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
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
                raise RuntimeError(f"{program.name} needs {name}, which is not found here")
            found[name] = pathlib.Path(words[2])
    return found


def make(root: pathlib.Path, archive: pathlib.Path) -> int:
    try:
        run(["launch/build", "one-rank", "mumoe", "gpu_tests"], root)
        build = root / "build" / "one-rank"
        programs = [build / "mumoe", *sorted(p for p in build.glob("tests/*/test_*gpu") if os.access(p, os.X_OK))]
        data = run([str(programs[0]), "data", "--config", "configs/gpt2_124m_cp.cfg"], root)
        prepared = pathlib.Path(next(w for w in data.split() if w.startswith("/")).rstrip(":"))
        with tempfile.TemporaryDirectory() as name:
            top = pathlib.Path(name) / "mumoe_gpu_check"
            fill(top, root, programs, prepared)
            with tarfile.open(archive, "w:xz") as tar:
                tar.add(top, arcname=top.name)
    except (RuntimeError, OSError, StopIteration) as error:
        return refuse(f"--pack: {error}")
    size = archive.stat().st_size / 2**20
    print(f"gpu_check: {archive}: {size:.1f} MiB")
    if size > MOST_MIB:
        return refuse(f"--pack: {archive} has {size:.1f} MiB: expected at most {MOST_MIB}")
    return 0


def fill(top: pathlib.Path, root: pathlib.Path, programs: list[pathlib.Path], prepared: pathlib.Path) -> None:
    for folder in ("bin", "lib", "data", "configs", "gpu", "kernels", "golden"):
        (top / folder).mkdir(parents=True)
    for program in programs:
        run(["strip", "-o", str(top / "bin" / program.name), str(program)], root)
    for name, path in libraries(programs).items():
        shutil.copy(path.resolve(), top / "lib" / name)
    for file in prepared.iterdir():
        if file.is_file():
            shutil.copy(file, top / "data")
    shutil.copy(root / "configs" / "gpt2_124m_cp.cfg", top / "configs")
    for source in [*root.glob("mumoe/kernels/*.cu"), *root.glob("*/kernels/*.cu"), *root.glob("mumoe/kernels/*.h")]:
        shutil.copy(source, top / "kernels")
    for file in (root / "launch" / "gpu").iterdir():
        if file.suffix in (".py", ".md"):
            shutil.copy(file, top / "gpu")
    shutil.copy(root / "launch" / "gpu_check", top / "gpu_check")
    shutil.copytree(root / "tests" / "golden", top / "golden", dirs_exist_ok=True)
    shutil.copytree(root / "tests" / "reference", top / "twin", ignore=shutil.ignore_patterns("__pycache__"))
    sums = {str(p.relative_to(top)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(top.rglob("*")) if p.is_file()}
    commit = run(["git", "rev-parse", "HEAD"], root).strip()
    about = {"commit": commit, "python": sys.version.split()[0], "sha256": sums}
    (top / "pack.json").write_text(json.dumps(about, indent=1) + "\n")
