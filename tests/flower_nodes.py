"""Flower's SuperLink and SuperNodes as processes on loopback, started and killed by tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "people"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "flower_people:server"
clientapp = "flower_people:client"
[tool.flwr.app.config]
path = "{state}"
rounds = 1
nodes = 3
timeout = 60.0
"""
CONNECTION = """
[superlink]
default = "here"
[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Deployment:
    """A SuperLink and its nodes; what a killed one leaves behind is killed at the end."""

    def __init__(self, folder, environment):
        self.folder, self.state = Path(folder), Path(folder) / "state"
        self.environment = {**environment, "FLWR_HOME": str(self.folder / "home")}
        bin = str(Path(sys.executable).parent)
        self.environment["PATH"] = bin + os.pathsep + os.environ["PATH"]
        self.port = free_port()
        self.processes = {}
        app = self.folder / "app"
        app.mkdir()
        (self.folder / "home").mkdir()
        (app / "pyproject.toml").write_text(PROJECT.format(state=self.state))
        shutil.copy(Path(__file__).with_name("flower_people.py"), app)
        (self.folder / "home" / "config.toml").write_text(CONNECTION.format(port=self.port))
        self.start(
            "link", "flower-superlink", "--insecure", "--disable-runtime-dependency-installation",
            "--port", str(self.port),
        )  # fmt: skip
        self.wait(self._listens)

    def _listens(self):
        with socket.socket() as calling:
            return calling.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, name, *command):
        with (self.folder / f"{name}.log").open("a") as log:
            # A group of its own: its children are killed with it, and nobody else.
            self.processes[name] = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def node(self, k, n=3):
        self.start(
            f"node-{k}", "flower-supernode", "--insecure",
            "--superlink", f"127.0.0.1:{self.port}", "--port", str(free_port()),
            "--node-config", f"partition-id={k} num-partitions={n}",
        )  # fmt: skip

    def run(self, rounds, nodes=3, timeout=60.0):
        """Runs rounds until so many were closed by the server, in all."""
        config = f"rounds={rounds} nodes={nodes} timeout={timeout}"
        command = ["flwr", "run", "app", "here", "--run-config", config]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr + self.told()

    def kill(self, name):
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_server_app(self):
        """The process of the server's app alone."""
        pattern = f"flwr-serverapp.*127.0.0.1:{self.port}"
        found = subprocess.run(
            ["pgrep", "-f", pattern], capture_output=True, text=True, check=False
        ).stdout.split()
        assert found, self.told()
        for pid in found:
            os.kill(int(pid), signal.SIGKILL)

    def wait(self, done, seconds=120.0):
        end = time.monotonic() + seconds
        while not (value := done()):
            assert time.monotonic() < end, self.told()
            time.sleep(0.1)
        return value

    def told(self):
        """The last lines of everybody."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in logs)

    def end(self):
        for name in list(self.processes):
            self.kill(name)
