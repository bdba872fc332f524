"""What a result was made with: versions of packages, the git revision, the device."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Versions, git revision and device that a result was made with."""
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
        "git": _git_revision(),
        "device": {
            "backend": jax.default_backend(),
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "processor": processor(),
        },
    }


def processor() -> str:
    """The CPU's name, and its widest vector instructions, which decide its matrix rate."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    vectors = "AVX-512" if "avx512f" in text else "AVX2" if "avx2" in text else ""
    return f"{lines[0] if lines else platform.processor()} {vectors}".strip()


def _git_revision() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Installed below somebody else's repository, that one's revision says nothing of medjax.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        # What else lies there, such as images and results, changes no run.
        changed = git("status", "--porcelain", "--", ":/medjax", ":/configs", ":/experiments")
        return git("rev-parse", "HEAD") + ("+dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
