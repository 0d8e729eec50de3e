"""Hosts on one machine: network namespaces with an address each on one bridge.

The bridge is in a namespace of its own: nothing of it reaches the machine's own network.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from demo.cluster.hosts import ONE_SYSTEM, TWO_SYSTEMS

NETWORK = "10.77.7.0/24"
_ADDRESSES = {
    host: f"10.77.7.{11 + number}"
    for number, host in enumerate(dict.fromkeys((*ONE_SYSTEM, *TWO_SYSTEMS)))
}

_PREFIX = "charge-"
_SWITCH = f"{_PREFIX}switch"
_NOBODY = "02:00:00:00:00:01"  # an address on the wire that no host has


def address(host: str) -> str:
    return _ADDRESSES[host]


def create(hosts: Iterable[str]) -> None:
    """Create hosts and connect them; those of an earlier run have to be gone."""
    _ip("netns", "add", _SWITCH)
    _inside(_SWITCH, "link", "add", "switch", "type", "bridge")
    _inside(_SWITCH, "link", "set", "switch", "up")
    for host in hosts:
        _create(host)


def remove() -> None:
    """End whatever runs on the hosts, and remove them; a repeated call finds none."""
    for namespace in _namespaces():
        for pid in _pids(namespace):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _ip("netns", "delete", namespace)


def command_on(host: str, *command: str | Path) -> list[str]:
    """Return the command that runs another one on a host."""
    return ["ip", "netns", "exec", _namespace(host), *map(str, command)]


def start(
    host: str, *command: str | Path, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a program on a host; what it prints is added to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command_on(host, *command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches the one who started it
        )


def signal_all(host: str, number: int, *, programs: Iterable[str] = ()) -> int:
    """Send a signal to the processes of a host; return how many got it.

    :param programs: by the names of their files, or of the scripts that Python runs; all, if none
    """
    wanted, reached = set(programs), 0
    for pid in pids(host):
        if wanted and not wanted & _names(pid):
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            reached += 1
    return reached


def pids(host: str) -> list[int]:
    """Return the processes that run on a host."""
    return _pids(_namespace(host))


def cut(one: str, *others: str) -> None:
    """Have packets between a host and others vanish, in both directions, without a word."""
    for other in others:
        for here, there in ((one, other), (other, one)):
            _neighbour("replace", here, there, "lladdr", _NOBODY, "nud", "permanent")


def heal(one: str, *others: str) -> None:
    """Let packets between a host and others pass again."""
    for other in others:
        for here, there in ((one, other), (other, one)):
            _neighbour("delete", here, there)


def _create(host: str) -> None:
    namespace = _namespace(host)
    _ip("netns", "add", namespace)
    _inside(
        _SWITCH, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", namespace
    )
    _inside(_SWITCH, "link", "set", host, "master", "switch", "up")
    _inside(namespace, "address", "add", f"{address(host)}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _inside(namespace, "link", "set", device, "up")


def _neighbour(action: str, here: str, there: str, *values: str) -> None:
    what = ("neighbour", action, address(there), "dev", "eth0", *values)
    _inside(_namespace(here), *what)


def _namespace(host: str) -> str:
    return f"{_PREFIX}{host}"


def _namespaces() -> list[str]:
    words = [line.split()[0] for line in _ip("netns", "list").splitlines() if line]
    return [word for word in words if word.startswith(_PREFIX)]


def _pids(namespace: str) -> list[int]:
    return [int(pid) for pid in _ip("netns", "pids", namespace).split()]


def _names(pid: int) -> set[str]:
    """Return the names by which a process can be meant: its program's, and its arguments'."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has ended
        return set()
    return {Path(word).name.partition(":")[0] for word in words[:3]}


def _inside(namespace: str, *arguments: str) -> None:
    _ip("-netns", namespace, *arguments)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
