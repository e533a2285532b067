"""The images, before anything runs."""

import json
import subprocess

from .stack import run


def the_images_are_small_labelled_and_hold_no_shell():
    for name in ["veilpost-reader", "veilpost-masker", "veilpost-writer", "veilpost"]:
        image = json.loads(run("docker", "image", "inspect", f"veilpost-check/{name}:latest"))[0]
        size = image["Size"] / 1e6
        print(f"    {name}: {size:.1f} MB")
        assert size < 60, f"{name} has {size} MB"
        assert image["Config"]["User"] == "65532:65532"
        assert image["Config"]["Labels"]["org.opencontainers.image.title"] == name
        assert name == "veilpost" or image["Config"]["Healthcheck"]["Test"] == ["CMD", "/usr/bin/veilpost-healthcheck"]
        shell = subprocess.run(["docker", "run", "--rm", "--entrypoint", "/bin/sh", image["Id"], "-c", ":"], capture_output=True, text=True)
        assert shell.returncode != 0 and "no such file" in shell.stderr, f"{name} has a shell: {shell.stderr}"


CHECKS = [the_images_are_small_labelled_and_hold_no_shell]
