"""Our images, built from our Dockerfiles by buildah, on a base that is made on the spot.

The base has the upstream's name and is Debian with Python, from Debian's packages. It and what is
built on it are kept in the user's cache folder, as buildah stores images.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common.version import VERSION
from sandbox.images import Blob, Image
from sandbox.kubernetes.parts import PROJECT, cache
from sandbox.registry import Registry

PROGRAMS: Final = ("coordinator", "agent")
"""The version that the manifests name."""
_BASE: Final = re.compile(r"^ARG PYTHON=(\S+:\S+-(\w+))$", re.MULTILINE)
_PACKAGES: Final = "python3-minimal,python3-venv,ca-certificates"
_UNNEEDED: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")
_MOST_STEPS: Final = 150
# Whom to trust when packages are fetched is this machine's knowledge.
_TRUST: Final = "/etc/ssl/certs:/etc/ssl/certs:ro"


class BuildError(Exception):
    """An image was not built; the text is the end of what was said."""


def base_name() -> tuple[str, str]:
    """The image that ours are built on, and the Debian release that it is made of."""
    found = {_BASE.findall((PROJECT / f"Dockerfile.{name}").read_text())[0] for name in PROGRAMS}
    [(name, release)] = found
    return str(name), str(release)


def make_base() -> str:
    """Make the base unless it is there, and say so; its name. Takes a minute. Raises BuildError."""
    name, release = base_name()
    if not _buildah("images", "--quiet", "--filter", f"reference={name}").strip():
        print(f"{name}: making it of Debian's packages, once for all clones …", flush=True)
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            _run(
                "debootstrap",
                "--variant=minbase",
                f"--include={_PACKAGES}",
                release,
                folder,
                _mirror(release),
            )
            _run("rm", "-rf", *(f"{folder}/{path}" for path in _UNNEEDED))
            container = _buildah("from", "scratch").strip()
            _buildah("copy", "--quiet", container, folder, "/")
            _buildah("config", "--cmd", "python3", container)
            # Named in the last step: whoever finds it can use it.
            _buildah("commit", "--quiet", "--rm", container, name)
    return name


def build(
    program: str,
    version: str,
    arguments: Mapping[str, str] | None = None,
    *,
    tree: Path = PROJECT,
) -> Image:
    """Build the image of one of our programs as an admin would. Raises BuildError.

    ``tree``: the sources, of this version or another.
    """
    tag = f"ips-{program}:{version}"
    _bound_the_store()
    settings = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    _buildah(
        "build",
        "--quiet",
        "--layers",  # a step whose input is known need not be done again
        "--isolation=oci",
        "--runtime=runc",
        "--network=host",
        "--pull-never",
        f"--volume={_TRUST}",
        f"--file={tree}/Dockerfile.{program}",
        f"--tag={tag}",
        *settings,
        str(tree),
    )
    with tempfile.TemporaryDirectory() as folder:
        _buildah("push", "--quiet", "--disable-compression", tag, f"oci:{folder}:{version}")
        return read_layout(Path(folder))


def _bound_the_store() -> None:
    """Forget the steps of former builds when they have become many. Raises BuildError."""
    steps = _buildah("images", "--all", "--quiet", "--filter", "dangling=true").split()
    if len(steps) > _MOST_STEPS:
        _buildah("rmi", "--prune")


def put_our_images(registry: Registry, folder: str = "library") -> None:
    """Build both and store them, as the manifests name them by default. Raises BuildError."""
    make_base()
    for program in PROGRAMS:
        arguments = {"CRICTL": "none"} if program == "agent" else {}
        image = build(program, VERSION, arguments)
        registry.put(f"{folder}/ips-{program}", VERSION, image)


def read_layout(folder: Path) -> Image:
    """Read the only image of a folder in OCI's image layout. Raises OSError, ValueError."""
    [described] = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = _read_blob(folder, described)
    parts = json.loads(manifest.content)
    blobs = [_read_blob(folder, part) for part in (parts["config"], *parts["layers"])]
    return Image(manifest, tuple(blobs))


def _read_blob(folder: Path, described: Mapping[str, str]) -> Blob:
    path = folder / "blobs" / described["digest"].replace(":", "/")
    return Blob(described["mediaType"], path.read_bytes())


def _mirror(release: str) -> str:
    """Where this machine gets Debian from; its release's own packages, not their updates."""
    said = _run(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
        "Component: main",
        f"Release: {release}",
    )
    mirrors = said.split()
    if not mirrors:
        raise BuildError(f"apt here knows no Debian {release}")
    return mirrors[0]


def _buildah(command: str, *arguments: str) -> str:
    """What buildah said, in a store of our own. Raises BuildError."""
    store = cache() / "buildah"
    where = [f"--root={store}", f"--runroot={store}/run", "--storage-driver=overlay"]
    return _run("buildah", *where, command, *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def main() -> int:
    """Make the base; the exit code."""
    try:
        print(f"{make_base()}: ready")
    except (BuildError, OSError) as error:
        print(f"scripts/fetch-kubernetes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
