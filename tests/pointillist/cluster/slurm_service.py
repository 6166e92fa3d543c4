"""A real Slurm on this machine, in a folder of its own, for as long as it is wanted.

Starts munged, slurmctld and slurmd on loopback with free ports: one node, two CPUs, one pretend GPU on a
plain device file; no systemd, no cgroups. On request it keeps accounts, in a MariaDB of its own. By hand::

    python tests/pointillist/cluster/slurm_service.py start FOLDER    # prints the line to put into the shell
    python tests/pointillist/cluster/slurm_service.py stop FOLDER
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "machine"))

import debian

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurm-wlm-basic-plugins")
ACCOUNTING_PACKAGES = ("slurmdbd", "mariadb-server")
_ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacct", "sacctmgr")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

_CONF = """\
ClusterName=pretend
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={cred_expire_s}
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
{accounting}
JobCompType=jobcomp/none
GresTypes=gpu
ReturnToService=2
KillWait=1
OverTimeLimit=0
MessageTimeout={message_timeout_s}
MinJobAge={min_job_age_s}
MaxArraySize={max_array_size}
MaxJobCount=20000
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1,batch_sched_delay=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 Gres=gpu:1 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n1 Default=YES DefMemPerCPU=100 MaxTime=1-00:00:00 State=UP
PartitionName=short Nodes=n1 DefMemPerCPU=100 MaxTime=00:10:00 State=UP
PartitionName=urgent Nodes=n1 DefMemPerCPU=100 MaxTime=00:10:00 PriorityTier=10 State=UP
"""


_NO_ACCOUNTS = """\
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none"""

_ACCOUNTS = """\
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts_port}
AccountingStoragePass={folder}/munge.socket"""

_DATABASE_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounts_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=accounts
CommitDelay=1
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def find_or_install(*, accounting: bool = False) -> None:
    """Make sure that Slurm's programs are on this machine; raise `ProgramsMissing` otherwise."""
    programs = _PROGRAMS + (_ACCOUNTING_PROGRAMS if accounting else ())
    packages = PACKAGES + (ACCOUNTING_PACKAGES if accounting else ())
    debian.find_or_install(programs, packages, path=_PATH)


class SlurmService:
    """Start, disturb and stop one Slurm.

    Parameters
    ----------
    folder
        Where everything it writes goes; short, because a socket's path may not exceed 107 characters.
    max_array_size, min_job_age_s, message_timeout_s
        Slurm's own settings of these names.
    accounting
        Keep accounts, so that ``sacct`` answers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_array_size: int = 21,
        min_job_age_s: int = 300,
        message_timeout_s: int = 3,
        accounting: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self._settings = {
            "max_array_size": max_array_size,
            "min_job_age_s": min_job_age_s,
            "message_timeout_s": message_timeout_s,
        }
        self._accounting = accounting
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._parachute = True

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to speak to this Slurm."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self, *, dies_with_parent: bool = True) -> None:
        """Write the configuration, start the three daemons and wait until the node is idle."""
        self._write_configuration()
        self._parachute = dies_with_parent
        try:
            self.start_munge()
            if self._accounting:
                self.start_accounting()
            self.start_controller()
            self.start_node()
        except BaseException:
            self.stop()
            raise

    def start_munge(self) -> None:
        """Start the authentication daemon."""
        names = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in names.items()]
        self._spawn("munged", ["--foreground", "--force", f"--log-file={self.folder}/munged.log", *options])
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged made no socket")

    def start_accounting(self) -> None:
        """Start a MariaDB and slurmdbd on loopback, and make our cluster known to them."""
        data, own = self.folder / "database", getpass.getuser()
        quiet = ["--no-defaults", f"--user={own}", f"--datadir={data}"]
        self._call("mariadb-install-db", *quiet, "--auth-root-authentication-method=normal", "--skip-test-db")
        socket_path = self.folder / "sql.socket"
        network = [f"--port={self._database_port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        fast = ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"]
        self._spawn("mariadbd", [*quiet, f"--socket={socket_path}", f"--pid-file={data}/pid", *network, *fast])
        self._wait(socket_path.exists, "mariadbd made no socket")
        grant = f"create user slurm@'127.0.0.1' identified by '{self._password}';"
        grant += "grant all on accounts.* to slurm@'127.0.0.1'; create database accounts"
        self._call("mariadb", "--no-defaults", f"--socket={socket_path}", f"--user={own}", "-e", grant)
        self._spawn("slurmdbd", ["-D"])
        add = ("sacctmgr", "--immediate", "add", "cluster", "pretend")
        self._wait(lambda: bool(self.run(*add)) and self._knows_cluster(), "slurmdbd does not answer")

    def _knows_cluster(self) -> bool:
        return "pretend" in self.run("sacctmgr", "--noheader", "show", "cluster", "format=cluster")

    def _call(self, program: str, *words: str) -> None:
        path = shutil.which(program, path=_PATH)
        assert path is not None, f"{program} is not installed"
        done = subprocess.run([path, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._spawn("slurmctld", ["-D"])
        self._wait(lambda: "is UP" in self.run("scontrol", "ping"), "slurmctld does not answer")

    def start_node(self) -> None:
        """Start slurmd and wait until its node can take jobs."""
        self._spawn("slurmd", ["-D", "-N", "n1"])
        ready = ("idle", "mixed", "allocated")
        self._wait(lambda: self.run("sinfo", "-h", "-o", "%T").split("\n")[0] in ready, "the node does not come up")

    def stop_controller(self) -> None:
        """Stop slurmctld: the scheduler is down."""
        self._end("slurmctld", signal.SIGTERM)

    def kill_node(self) -> None:
        """Kill slurmd and whatever runs under it, as a power cut does."""
        self._end("slurmd", signal.SIGKILL)
        self._kill_strays()

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands here; return what it prints."""
        return self._ask(*command).stdout

    def queue(self) -> list[str] | None:
        """Return the state of each cluster job that has not ended; None when Slurm does not answer."""
        done = self._ask("squeue", "-h", "-r", "-o", "%T")
        return None if done.returncode else done.stdout.split()

    def _ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, "PATH": f"{os.environ.get('PATH', '')}:{_PATH}"}
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def stop(self) -> None:
        """Stop everything and leave no process behind; may be called at any time, more than once."""
        if self._is_running("slurmctld"):
            self.run("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._end(name, signal.SIGTERM)
        self._kill_strays()

    def _write_configuration(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(stat.S_IRUSR)
        device = self.folder / "gpu0"
        try:
            # A device of its own with the numbers of /dev/null: slurmd accepts no plain file as a GPU.
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            device = Path("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={device}\n")
        controller_port, node_port, accounts_port, self._database_port = _free_ports(4)
        self._password = os.urandom(12).hex()
        if self._accounting:
            accounts = self.folder / "slurmdbd.conf"
            accounts.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
            accounts.write_text(
                _DATABASE_CONF.format(
                    folder=self.folder,
                    user=getpass.getuser(),
                    accounts_port=accounts_port,
                    database_port=self._database_port,
                    password=self._password,
                )
            )
        conf = _CONF.format(
            accounting=_ACCOUNTS.format(accounts_port=accounts_port, folder=self.folder)
            if self._accounting
            else _NO_ACCOUNTS,
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            user=getpass.getuser(),
            controller_port=controller_port,
            # A job that is put back waits this long before it may start again; two minutes by default.
            cred_expire_s=5,
            node_port=node_port,
            **self._settings,
        )
        (self.folder / "slurm.conf").write_text(conf)

    def _spawn(self, name: str, arguments: list[str]) -> None:
        program = shutil.which(name, path=_PATH)
        assert program is not None, f"{name} is not installed"
        command = [program, *arguments]
        if self._parachute and shutil.which("setpriv"):
            # The daemons end with the tests even when those are killed and clean nothing up.
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with open(self.folder / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_running(self, name: str) -> bool:
        return name in self._daemons and self._daemons[name].poll() is None

    def _end(self, name: str, number: int) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.send_signal(number)
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _kill_strays(self) -> None:
        """Kill what slurmd has started: each carries our configuration's path in its environment."""
        # One that forks while we look leaves a child behind that the list did not have.
        while [pid for pid in self._strays() if _killed(pid)]:
            pass

    def _strays(self) -> Iterator[int]:
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        ours = {daemon.pid for daemon in self._daemons.values()} | {os.getpid()}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) in ours:
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and _is_job(entry):
                    yield int(entry.name)

    def _wait(self, is_ready: object, complaint: str) -> None:
        assert callable(is_ready)
        end = time.monotonic() + 60
        while not is_ready():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                raise RuntimeError(f"{complaint}; ended: {dead or 'none'}\n{self.tail()}")
            time.sleep(0.05)

    def tail(self) -> str:
        """Return the last lines of every log."""
        parts = []
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")]):
            lines = path.read_text(errors="replace").splitlines()[-8:]
            parts.append(f"--- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[SlurmService]:
    """Run a Slurm with these settings for a while, in a folder that is removed afterwards."""
    # Not under pytest's own folder: the path of a socket may not be long.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        service = SlurmService(Path(folder), **settings)
        try:
            service.start()
            yield service
        finally:
            service.stop()


def _killed(pid: int) -> bool:
    """Kill a process; return whether it was still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _is_job(entry: Path) -> bool:
    """Whether a process belongs to a job, rather than being a shell in which somebody tries things out."""
    environment = (entry / "environ").read_bytes()
    return b"slurmstepd" in (entry / "cmdline").read_bytes() or b"SLURM_JOB_ID=" in environment


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main(arguments: list[str]) -> int:
    """Start or stop a Slurm by hand."""
    if len(arguments) != 2 or arguments[0] not in ("start", "stop"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[1])
    service = SlurmService(folder, max_array_size=1001)
    pids = folder / "pids.json"
    if arguments[0] == "start":
        find_or_install()
        service.start(dies_with_parent=False)
        pids.write_text(json.dumps({name: daemon.pid for name, daemon in service._daemons.items()}))
        for daemon in service._daemons.values():
            daemon.returncode = 0  # they are meant to outlive this process
        print(f"export SLURM_CONF={service.environment['SLURM_CONF']}")
        return 0
    service.run("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
    for pid in reversed(json.loads(pids.read_text()).values()):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    service._kill_strays()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
