"""A broker that a test may stop, kill and start again: the real binary on free ports, with a data folder that stays.

Flow: `start` spawns the process and reads its log until it is ready -> clients come in by `connect` -> `restart` ends
it, gently or not, and starts it on the same folder. `close` ends the process and removes the folder, whatever happened.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pika
from waiting import until

READY = "Broker running"
AMQP_PORT = re.compile(r"Listening on TCP/TCP6 port (\d+)")
HTTP_ADDRESS = re.compile(r"HTTP listening on (\S+)")
# A start or an end that takes longer is a fault.
PATIENCE = 30.0


def binary():
    """The broker's binary, as the test runner names it."""
    path = os.environ.get("FAIRLEAD_BIN")
    assert path, "FAIRLEAD_BIN is not set: it names the broker's binary; `cargo xtask test` sets it"
    return str(Path(path).resolve())


class Node:
    """One data folder, and at most one process on it."""

    def __init__(self, folder, configuration=None, wrapper=()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.wrapper = list(wrapper)
        self.process = None
        self.port = None
        self.http = None
        self.lives = 0
        self.connections = []
        self.configure(configuration)

    def configure(self, configuration):
        """Replaces the configuration file (YAML) for the next start; None is the defaults."""
        self.configuration = None
        if configuration is not None:
            self.configuration = self.folder / "broker.yaml"
            self.configuration.write_text(configuration)

    @property
    def log_path(self):
        """The log of this life."""
        return self.folder / f"log.{self.lives}"

    def log(self):
        """What this life has logged so far."""
        return self.log_path.read_text()

    def spawn(self):
        """Starts the process, and does not wait for anything."""
        assert self.process is None, "it runs already"
        command = [*self.wrapper, binary(), "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        if self.lives > 3:
            # Of many lives, the last ones are of interest.
            (self.folder / f"log.{self.lives - 3}").unlink(missing_ok=True)
        self.lives += 1
        command += ["--data-dir", str(self.folder / "data")]
        if self.configuration:
            command += ["--config", str(self.configuration)]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        """Starts the process and waits until it is ready."""
        self.spawn()
        self.await_ready()
        return self

    def await_ready(self):
        """Waits until the process says that it runs, and reads its ports."""

        def ready():
            log = self.log()
            if READY in log:
                return log
            assert self.process.poll() is None, f"the broker ended with {self.process.returncode}:\n{log}"
            return None

        try:
            log = until(ready, "the broker's start", PATIENCE, pause=0.002)
        except AssertionError as error:
            raise AssertionError(f"{error}\nits log:\n{self.log()}") from None
        self.port = int(AMQP_PORT.search(log)[1])
        self.http = f"http://{HTTP_ADDRESS.search(log)[1]}"

    def connect(self, **overrides):
        """A pika connection; it is closed, or given up, when the broker ends."""
        parameters = pika.ConnectionParameters("127.0.0.1", self.port, **{"heartbeat": 0, **overrides})
        connection = pika.BlockingConnection(parameters)
        self.connections.append(connection)
        return connection

    def channel(self, confirms=True):
        """A channel of a connection of its own."""
        channel = self.connect().channel()
        if confirms:
            channel.confirm_delivery()
        return channel

    def ask(self, path):
        """What the HTTP API says."""
        with urllib.request.urlopen(self.http + path, timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def queue(self, name):
        """A queue, as the HTTP API shows it."""
        return self.ask(f"/api/queues/%2F/{quote(name, safe='')}")

    def kill(self):
        """Ends the process at once."""
        self.process.kill()
        self.ended()

    def terminate(self):
        """Ends the process as an operator does, after its clients have gone."""
        for connection in self.connections:
            if connection.is_open:
                connection.close()
        self.process.terminate()
        code = self.ended()
        assert code == 0, f"the broker ended with {code}:\n{self.log()}"

    def ended(self):
        """Waits for the end of the process; its code."""
        code = self.process.wait(PATIENCE)
        self.process = None
        self.connections = []
        return code

    def restart(self, how):
        """Ends it by SIGTERM or SIGKILL, and starts it anew."""
        self.end(how)
        self.start()

    def end(self, how):
        """Ends it by this signal."""
        if how == signal.SIGKILL:
            self.kill()
        else:
            self.terminate()

    def close(self):
        """Ends the process if there is one, and removes the folder."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def after(moment):
    """Waits for a moment of `time.time()`: deadlines have no other condition."""
    until(lambda: time.time() > moment, f"the moment {moment}")
