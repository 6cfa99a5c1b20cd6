"""A TCP proxy between the app and its database, which a test cuts or silences."""

import socket
import threading
from contextlib import suppress


class DatabaseProxy:
    """A TCP proxy that can be closed, which cuts every connection, and silenced."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = True
        self._answering = threading.Event()
        self._answering.set()
        self._inside: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def shut(self) -> None:
        self._open = False
        for connection in self._inside:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._open = True

    def redirect(self, port: int) -> None:
        """Forward new connections to another port, as a virtual address that moves."""
        self._server = (self._server[0], port)

    def silence(self) -> None:
        """Accept and acknowledge everything, and forward nothing: a server that is stopped."""
        self._answering.clear()

    def resume(self) -> None:
        self._answering.set()

    def close(self) -> None:
        self.resume()
        self.shut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._open:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self._server)
                except OSError:
                    # the server is down
                    client.close()
                    continue
                self._inside += [client, server]
                for ends in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._forward, args=ends, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._answering.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()
