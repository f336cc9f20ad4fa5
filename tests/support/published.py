"""A tiny published dataset, and servers that answer for it as they like."""

import contextlib
import datetime
import functools
import gzip
import hashlib
import ipaddress
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headstart.data import catalogue

_RNG = np.random.default_rng(7)


def _idx(*shape: int) -> bytes:
    values = _RNG.integers(0, 4, size=shape, dtype=np.uint8)
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values.tobytes()


CONTENT = {
    "tiny-train-images": _idx(40, 9, 9),
    "tiny-train-labels": _idx(40),
    "tiny-test-images": _idx(10, 9, 9),
    "tiny-test-labels": _idx(10),
}
NAMES = list(CONTENT)
IMAGES = NAMES[0]


def _published(name: str) -> catalogue.PublishedFile:
    content = CONTENT[name]
    return catalogue.PublishedFile(name, len(content), hashlib.sha256(content).hexdigest())


TINY = catalogue.PublishedDataset(
    name="tiny",
    files=tuple(map(_published, NAMES)),
    classes=("a", "b", "c", "d"),
)


# What a server may do with a request for a file: (handler, name without .gz, compressed?).
Answer = Callable[["Handler", str, bool], None]


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        self.server.asked.append(name)
        self.server.paths.append(self.path)
        self.server.answer(self, name.removesuffix(".gz"), name.endswith(".gz"))

    def send(self, body: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keeps the tests' output readable."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answer = answer
        self.asked: list[str] = []
        self.paths: list[str] = []
        self.stopping = threading.Event()
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http{'s' if context else ''}://{self.address}/data/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is what several tests are about."""


def good(handler: Handler, name: str, compressed: bool) -> None:
    """Answers with the file that is asked for."""
    handler.send(gzip.compress(CONTENT[name]) if compressed else CONTENT[name])


def missing(handler: Handler, name: str, compressed: bool) -> None:
    """Answers that there is no such file."""
    handler.send(b"not here", status=404)


# Starts a server that answers so.
Serve = Callable[[Answer], Server]


@contextlib.contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[Callable[..., Server]]:
    """Yields what starts servers, over https with a context; ends them all."""
    servers: list[tuple[Server, threading.Thread]] = []

    def start(answer: Answer, *, secure: bool = True) -> Server:
        server = Server(answer, context if secure else None)
        thread = threading.Thread(
            target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True
        )
        thread.start()
        servers.append((server, thread))
        return server

    try:
        yield start
    finally:
        for server, thread in servers:
            server.stopping.set()
            server.shutdown()
            thread.join()
            server.server_close()


def write_certificate(folder: Path) -> Path:
    """Writes a certificate for 127.0.0.1, signed by itself, with its key, into `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def secured(certificate: Path) -> ssl.SSLContext:
    """Returns what a server needs to speak https with such a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
