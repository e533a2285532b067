"""What the binaries know, in their own words."""

import functools
import os
import pathlib
import re
import subprocess

BINARIES = pathlib.Path(os.environ["VEILPOST_BINARIES"])


def program(image: str) -> str:
    """The binary in an image, by the image's name."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


@functools.cache
def known(binary: str, *subcommand: str) -> dict[str, str | None]:
    """The variables in `--help`, with their defaults."""
    command = [BINARIES / binary, *subcommand, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env={}, timeout=30).stdout
    found = re.findall(r"\[env: ([A-Z0-9_]+)(?:=[^\]]*)?\](?: \[default: ([^\]]*)\])?", " ".join(text.split()))
    if not found:
        raise AssertionError(f"{command} shows no variables")
    return {name: default or None for name, default in found}
