"""The cluster's folders, the user its servers run as, and what the machine has to have."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from demo.processes import ROOT, say
from embedded_postgres.account import ServerAccount
from embedded_postgres.binaries import usable_binaries

TEMPLATES = ROOT / "deploy" / "cluster"
HOME = Path("/var/lib/charge-once-cluster")
RUN = HOME / "run"  # of one run; gone with it
LOGS = HOME / "logs"  # of the last run
PATRONI = HOME / "patroni" / "bin"
DISKS = "*db?"  # the hosts with a database
DISK_MB = 512  # of such a host, in memory

# Debian's packages by the program that they bring.
PACKAGES = {
    "etcd": "etcd-server",
    "haproxy": "haproxy",
    "pgbouncer": "pgbouncer",
    "ip": "iproute2",
    "setpriv": "util-linux",
}
# The machine's own services stay off: the hosts start the programs themselves.
SERVICES = {"etcd-server": "etcd", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}
UNATTENDED = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}

# What hosts are made of, tried where nothing of it lasts.
PROBE = (
    "mount -t tmpfs tmpfs /mnt",
    "ip link add name switch type bridge",
    "ip link add name one type veth peer name other",
)
SYSTEM_PYTHON = Path("/usr/bin/python3")  # the servers' user can run it, wherever the project is


def prepare() -> str:
    """Install what is missing: Debian's packages, and Patroni in an environment of its own.

    Returns why no cluster can run on this machine; empty: it can.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return (
            "The cluster needs Debian and root: it makes network namespaces and installs servers."
        )
    try:
        _install()
    except subprocess.CalledProcessError as failed:
        return f"{failed.output}\nFailed: {' '.join(map(str, failed.cmd))}."
    command = ("unshare", "--mount", "--net", "sh", "-c", " && ".join(PROBE))
    probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"This machine refuses to make hosts: {probe.stderr.strip()}."
    return ""


def _install() -> None:
    wanted = sorted(package for name, package in PACKAGES.items() if not shutil.which(name))
    if not SYSTEM_PYTHON.exists() or subprocess.call([SYSTEM_PYTHON, "-c", "import ensurepip"]):
        wanted.append("python3-venv")
    if wanted:
        say(f"Installing {' '.join(wanted)}")
        _quietly("apt-get", "update")
        _quietly("apt-get", "install", "--yes", "--no-install-recommends", *wanted)
        _keep_off([SERVICES[package] for package in wanted if package in SERVICES])
    requirements, stamp = TEMPLATES / "requirements.txt", HOME / "patroni" / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        say("Installing Patroni")
        HOME.mkdir(parents=True, exist_ok=True)
        _quietly(SYSTEM_PYTHON, "-m", "venv", "--clear", PATRONI.parent)
        _quietly(PATRONI / "pip", "install", "--require-hashes", "-r", requirements)
        shutil.copy(requirements, stamp)


def account() -> ServerAccount:
    """Return the user that the databases run as."""
    return ServerAccount(RUN / "servers")


def binaries() -> Path:
    """Return PostgreSQL's programs, where that user can run them."""
    return usable_binaries(HOME, account())


def make_folders(hosts: Iterable[str]) -> None:
    """Give each of the hosts a folder, and a small disk where it has a database."""
    for host in hosts:
        folder = RUN / host
        folder.mkdir(parents=True)
        if folder.match(DISKS):
            size = f"size={DISK_MB}m,mode=0755"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
        account().hand_over(folder)


@contextmanager
def full_disk(host: str) -> Iterator[None]:
    """Leave no byte free on the disk of a host for the block."""
    filler = RUN / host / "filler"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as opened:
            while True:
                opened.write(bytes(4096))
        yield
    finally:
        filler.unlink()


def remove() -> None:
    """Remove the folders of a run but for its logs; a repeated call finds none."""
    if RUN.exists():
        shutil.rmtree(LOGS, ignore_errors=True)
    for log in RUN.glob("*/*.log"):
        target = LOGS / log.relative_to(RUN)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, target)
    for disk in sorted(RUN.glob(DISKS)):
        subprocess.run(["umount", "--lazy", disk], capture_output=True, check=False)
    shutil.rmtree(RUN, ignore_errors=True)


def _keep_off(services: Sequence[str]) -> None:
    """Stop services that a package has started, where systemd runs."""
    if services and Path("/run/systemd/system").exists():
        _quietly("systemctl", "disable", "--now", *services)


def _quietly(*command: str | Path) -> None:
    """Run a command whose output matters only if it fails.

    :raises CalledProcessError: it did
    """
    subprocess.run(
        command,
        env=os.environ | UNATTENDED,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
