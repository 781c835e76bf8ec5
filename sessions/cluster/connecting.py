"""Connecting to a Ray cluster, or starting one on this machine.

One that is started here ends with the session, and its files with it. One that was there is never stopped. Neither gets
a dashboard from us, nor reports of its use.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import shutil
import socket
import tempfile
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model.background import LOOK, first_line

#: Seconds that a cluster has to answer.
ANSWER = 5.0


@dataclass
class RayCluster:
    """A cluster that this process is connected to.

    `address` is empty for one that was started on this machine, whose files are in `folder`. `own` is whether the
    connection was made here, `ended` lets the thread go that made it, and
    `head` is where the head listens.
    """

    ray: Any
    address: str
    own: bool
    ended: threading.Event
    head: str
    folder: str = ""

    def __str__(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "Ray on this machine"

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is there."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def room(self, needs: dict[str, float]) -> int:
        """How many workers fit that need so much each, whatever else runs there."""
        return sum(
            min(int(node.get(name, 0.0) // amount) for name, amount in needs.items() if amount) for node in self.nodes()
        )

    def answers(self) -> bool:
        """Whether the head of the cluster is there: a question to Ray would wait for it for ever."""
        host, _, port = self.head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the connection, if it was made here; a cluster that was started here ends with it."""
        atexit.unregister(self.close)
        if self.own:
            with suppress(Exception):
                self.ray.shutdown()
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)
        self.ended.set()


def connected(address: str) -> Steps[RayCluster]:
    """The cluster at an address or, where that is empty, one that is started on this machine.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--on ray needs Ray, which is not installed", "pip install 'neuron-workbench[ray]'")
    where = f"connecting to Ray at {address}" if address else "starting Ray on this machine"
    outcome: Future[RayCluster] = Future()
    ended = threading.Event()

    def connect() -> None:
        try:
            outcome.set_result(_connect(address, ended))
        except BaseException as error:
            outcome.set_exception(error)
        else:
            ended.wait()  # what Ray starts on Linux is killed with the thread that started it

    threading.Thread(target=connect, name="ray", daemon=True).start()
    try:
        while not wait([outcome], timeout=LOOK).done:
            yield Progress(where)
    except BaseException:
        outcome.add_done_callback(_closed)
        raise
    return outcome.result()


def _closed(outcome: Future[RayCluster]) -> None:
    if outcome.exception() is None:
        outcome.result().close()


def _connect(address: str, ended: threading.Event) -> RayCluster:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A session outlives a cluster whose head is gone; Ray's own client would end the process after a minute.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "2000000")
    if address:
        _check_answers(address)
    import ray
    from ray._private import worker

    # Ray prints what happens on other nodes to our terminal, which belongs to somebody else.
    if hasattr(worker, "listen_error_messages"):
        worker.listen_error_messages = lambda *_: None
    if ray.is_initialized():
        return RayCluster(ray, address, own=False, ended=ended, head=_head(ray))
    logging.getLogger("ray").setLevel(logging.ERROR)
    words: dict[str, Any] = {
        "log_to_driver": False, "logging_level": "ERROR", "configure_logging": False, "ignore_reinit_error": True,
    }  # fmt: skip
    folder = "" if address else tempfile.mkdtemp(prefix="workbench-ray-")
    if not address:
        words |= {"include_dashboard": False, "_temp_dir": folder}
    try:
        ray.init(address=address or "local", **words)
    except Exception as error:  # which kind depends on what is wrong there
        with suppress(Exception):
            ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        raise _no_cluster(address, first_line(error)) from error
    cluster = RayCluster(ray, address, own=True, ended=ended, head=_head(ray), folder=folder)
    atexit.register(cluster.close)  # where the session is not closed
    return cluster


def _head(ray: Any) -> str:
    return str(ray.get_runtime_context().gcs_address)


def _check_answers(address: str) -> None:
    """Raise `UsageError` where nobody listens at HOST:PORT: Ray itself would wait for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        if address == "auto":
            return
        raise UsageError(f"'{address}' is not an address of a Ray cluster", "for example: --on ray:10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> UsageError:
    if not address:
        return UsageError(f"Ray could not be started on this machine: {why}", "ray start --head says more")
    return UsageError(
        f"no Ray cluster answers at {address}: {why}", "start one there: ray start --head --port=6379; or --on ray"
    )
