"""What there is to build, and the objects that come out."""

import functools
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir() if path.is_dir())
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir() if path.is_dir())

# Every overlay, the production one with each component, and with all of them.
VARIANTS = {name: (name, []) for name in OVERLAYS}
VARIANTS |= {f"production with {name}": ("production", [name]) for name in COMPONENTS}
VARIANTS["production with all components"] = ("production", COMPONENTS)

SERVICES = ["reader", "masker", "writer"]


def build(folder: pathlib.Path) -> list[dict]:
    """The objects of a kustomization; fails with kustomize's own words."""
    command = shlex.split(os.environ["VEILPOST_KUSTOMIZE"])
    if command[0] != "kubectl":
        command.append("build")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)
    if done.returncode or done.stderr:
        raise AssertionError(f"{folder}: {done.stderr}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@functools.cache
def objects(variant: str) -> list[dict]:
    overlay, components = VARIANTS[variant]
    return build(KUBERNETES / "overlays" / overlay) if not components else on_top(overlay, {"components": components})


def on_top(overlay: str, more: dict) -> list[dict]:
    """The objects of a kustomization that stands on an overlay and adds `more`."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder).resolve()
        relative = lambda *parts: os.path.relpath(KUBERNETES.joinpath(*parts), folder)
        text = dict(more)
        text["components"] = [relative("components", name) for name in more.get("components", [])]
        text["resources"] = [relative("overlays", overlay)]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return build(folder)


def copy_of_deploy(folder: str) -> pathlib.Path:
    """A copy of deploy/ that may be changed."""
    return pathlib.Path(shutil.copytree(ROOT / "deploy", pathlib.Path(folder) / "deploy"))


def of_kind(found: list[dict], *kinds: str) -> list[dict]:
    return [one for one in found if one["kind"] in kinds]


def named(found: list[dict], kind: str, name: str) -> dict:
    """The object of that name, whose name may end with a hash."""
    for one in of_kind(found, kind):
        own = one["metadata"]["name"]
        if own == name or own.rpartition("-")[0] == name:
            return one
    raise AssertionError(f"there is no {kind} {name}")


def workloads(found: list[dict]) -> list[dict]:
    return of_kind(found, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet")


def pod_template(workload: dict) -> dict:
    return workload["spec"]["template"]


def containers(workload: dict) -> list[dict]:
    spec = pod_template(workload)["spec"]
    return spec.get("initContainers", []) + spec["containers"]


def service(found: list[dict], name: str) -> dict:
    return named(found, "Deployment", f"veilpost-{name}")


def variables(found: list[dict], container: dict) -> dict[str, str]:
    """The variables that the container sees, as Kubernetes combines them, without fields of the pod."""
    seen = {}
    for source in container.get("envFrom", []):
        seen |= named(found, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        if "value" in variable:
            seen[variable["name"]] = variable["value"]
        elif key := variable["valueFrom"].get("configMapKeyRef"):
            seen[variable["name"]] = named(found, "ConfigMap", key["name"])["data"][key["key"]]
    return seen


def seconds(duration: str) -> float:
    """A duration as the binaries read it."""
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        number = duration.removesuffix(unit)
        if number != duration and number.isdigit():
            return int(number) * factor
    raise AssertionError(f"{duration} is no duration")
