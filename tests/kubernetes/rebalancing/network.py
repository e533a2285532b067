"""Hosts with addresses of their own, each a network namespace behind one bridge, that end with this process.

`rebalance` starts the tests in namespaces of their own, so nothing here touches the machine's network.
"""

import pathlib
import subprocess

# For tests of networks (RFC 2544).
HUB = "198.18.0.1"
SUBNET = "198.18.0.0/24"


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}: {done.stdout}")
    return done.stdout


def make_hub(folder):
    """The bridge, and a resolver that asks the hub; tests, queue and Postgres live here."""
    names = pathlib.Path("/run/netns")
    names.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "none", str(names))
    replace("/etc/resolv.conf", f"nameserver {HUB}\noptions timeout:1\n", folder)
    replace("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", folder)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "hub", "type", "bridge")
    run("ip", "address", "add", f"{HUB}/24", "dev", "hub")
    run("ip", "link", "set", "hub", "up")


def replace(path, text, folder):
    """Shows another text at `path`, to the processes of these tests only."""
    substitute = folder / pathlib.Path(path).name
    substitute.write_text(text)
    run("mount", "--bind", str(substitute), path)


class Host:
    """One host, with an address that no other host has had."""

    made = 0

    def __init__(self):
        Host.made += 1
        number = 9 + Host.made
        self.name = f"host{number}"
        self.address = f"198.18.0.{number}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", "hub", "up")
        for command in (
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", self.name, *command)

    def command(self, *command):
        """The command that runs `command` on this host, as the same process."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def cut_off(self):
        """From now on every packet to and from this host is dropped, and nobody is told."""
        rules = """
            table inet cut {
                chain in { type filter hook input priority 0; policy drop; }
                chain out { type filter hook output priority 0; policy drop; }
            }
        """
        run(*self.command("nft", "-f", "-"), input=rules)

    def connect_again(self):
        run(*self.command("nft", "delete", "table", "inet", "cut"))

    def remove(self):
        run("ip", "netns", "delete", self.name)
