"""The HTTPS server: one port, some threads, and a limit to everything a caller can take."""

from __future__ import annotations

import errno
import logging
import queue
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from cheroot import wsgi
from cheroot.connections import ConnectionManager
from cheroot.workers.threadpool import _SHUTDOWNREQUEST, ThreadPool, WorkerThread  # type: ignore[attr-defined]

from node.domain.errors import BadSetting, PortTaken, UnusableKey
from node.domain.instance import Chunk
from services.https.connection import Connection
from services.https.limits import Limits
from services.https.request import Gateway
from services.https.tls import CurrentContext

log = logging.getLogger(__name__)

TICK: Final = 0.25
"""Seconds after which the time-outs of resting connections are looked at."""

LAST_CALL: Final = 2.0
"""Seconds for a request to end whose connection was cut."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Chunk]]
"""A WSGI application; its answer may be made of any runs of bytes, each valid until the next is asked for."""


def _join(workers: list[WorkerThread], seconds: float) -> None:
    """Wait so long for threads to end."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


class Server:
    """Serves a WSGI application by HTTPS, in threads of this process."""

    def __init__(
        self,
        application: Application,
        address: tuple[str, int],
        contexts: CurrentContext,
        limits: Limits | None = None,
        *,
        setting: str = "node.host",
    ) -> None:
        self._setting = setting
        self._listener = Listener(application, address, contexts, limits or Limits())
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.bind_addr[1])

    def start(self) -> None:
        """Listen; when this returns, connections are accepted.

        Raises:
            PortTaken: somebody else listens there.
            BadSetting: it may not listen there.
            UnusableKey: the node's certificate or key cannot be used.
        """
        host, port = self._listener.bind_addr
        try:
            self._listener.contexts.current()
        except OSError as error:
            raise UnusableKey(error.strerror or type(error).__name__) from error
        try:
            self._listener.prepare()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(port) from error
            raise BadSetting(self._setting, host, error.strerror or "no such address") from error
        self._thread = threading.Thread(target=self._listener.serve, name=f"https-{self.port}", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Accept nothing new, let requests finish for so many seconds, then cut them off."""
        self._listener.shutdown_timeout = grace
        self._listener.stop()
        if self._thread is not None:
            self._thread.join(grace)


class Listener(wsgi.Server):
    """cheroot's server, with our connections and our limits."""

    ConnectionClass = Connection
    expiration_interval = TICK
    keep_alive_conn_limit = None  # type: ignore[assignment]

    def __init__(
        self, application: Application, address: tuple[str, int], contexts: CurrentContext, limits: Limits
    ) -> None:
        super().__init__(address, application, server_name="konzilium")
        self.contexts = contexts
        self.limits = limits
        self.gateway = Gateway
        self.max_request_header_size = limits.head_bytes
        self.requests = Threads(self, limits)
        self.strangers = threading.Semaphore(limits.strangers)
        self._present: Counter[str] = Counter()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Listen, and start the threads.

        Raises:
            OSError: the address cannot be listened at.
        """
        self.software = "konzilium"
        host, port = self.bind_addr
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.bind(*found[0][:3])
        self.socket.setblocking(False)
        self.socket.listen(self.limits.backlog)
        self._connections = Resting(self)
        self.requests.start()
        self.ready = True

    def enter(self, address: str) -> bool:
        """Take a place for a connection from an address; whether there was one."""
        with self._lock:
            limits = self.limits
            if (
                self._present.total() >= limits.connections
                or self._present[address] >= limits.connections_per_address
            ):
                return False
            self._present[address] += 1
            return True

    def leave(self, address: str) -> None:
        """Give the place back."""
        with self._lock:
            self._present[address] -= 1
            if not self._present[address]:
                del self._present[address]

    def process_conn(self, conn: Connection) -> None:
        """Let a thread go on with a connection; where too many wait for one, refuse it."""
        try:
            self.requests.put(conn)
        except queue.Full:
            log.warning("a request was refused: too many wait", extra={"peer": conn.peer})
            conn.refuse()

    def put_conn(self, conn: Connection) -> None:
        """Let a connection rest until something comes."""
        try:
            super().put_conn(conn)
        except (OSError, KeyError, ValueError):  # it has ended, or the server has
            conn.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Log a failure by class and place; its words may quote what was sent."""
        log.log(level, "a connection failed", exc_info=traceback)


class Resting(ConnectionManager):
    """The connections that wait for bytes, watched by one thread."""

    server: Listener

    def _from_server_socket(self, server_socket: socket.socket) -> None:
        """Accept a connection and let it rest until its first bytes are here."""
        try:
            accepted, address = server_socket.accept()
        except BlockingIOError:
            return
        except OSError:
            log.exception("a connection could not be accepted")
            time.sleep(TICK)
            return
        if not self.server.enter(address[0]):
            accepted.close()
            return
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        conn = Connection(self.server, accepted, address[:2])
        self._selector.register(accepted.fileno(), selectors.EVENT_READ, data=conn)  # type: ignore[attr-defined]

    def _expire(self, threshold: float) -> None:
        """Close what has rested too long."""
        now = time.monotonic()
        resting = self._selector.connections  # type: ignore[attr-defined]
        for descriptor, conn in list(resting):
            if conn is not self.server and conn.wire.expires < now:
                self._selector.unregister(descriptor)  # type: ignore[attr-defined]
                conn.close()


class Threads(ThreadPool):
    """The threads that answer requests, and the requests that wait for one."""

    def __init__(self, server: Listener, limits: Limits) -> None:
        super().__init__(
            server,
            min=limits.threads,
            max=limits.threads,
            accepted_queue_size=limits.queue,
            accepted_queue_timeout=0,
        )

    def stop(self, timeout: float = 5) -> None:
        """Let requests finish for so many seconds, then cut their connections and wait a moment more."""
        workers: list[WorkerThread] = list(self._clear_threads())  # type: ignore[attr-defined]
        for _ in workers:
            with suppress(queue.Full):
                self._queue.put(_SHUTDOWNREQUEST, timeout=timeout)  # type: ignore[attr-defined]
        _join(workers, timeout)
        for worker in workers:
            if (conn := worker.conn) is not None:
                conn.wire.close()
        _join(workers, LAST_CALL)

    def _spawn_worker(self) -> WorkerThread:
        worker = WorkerThread(self.server)  # type: ignore[no-untyped-call]
        worker.daemon = True
        worker.start()
        return worker
