"""A real nginx with the project's own configuration, at ports of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port

DOCKER = Path(__file__).parents[2] / "docker"
START_S = 15.0


@dataclass(frozen=True)
class Balancer:
    """A running nginx: its addresses, and the file to which it writes who answered what."""

    grpc: str
    http: str
    log: Path

    def answered(self) -> Counter[int]:
        """Returns how many calls went well at each server, by its port."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return Counter(int(upstream.rsplit(":", 1)[1]) for status, upstream in lines if status == "200")


def nginx() -> str:
    """Returns nginx's path; skips the test where there is none."""
    # Debian has it where only root's PATH leads.
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("there is no nginx")


def upstreams(folder: Path, name: str, **ports: Sequence[int]) -> None:
    """Writes docker/nginx/NAME to a folder with servers at other ports, by their group; all limits stay as they are.

    Addresses need no resolver, and `resolve` no nginx that is later than Debian's.
    """
    text = re.sub(r"^resolver .*\n", "", (DOCKER / "nginx" / name).read_text(), flags=re.MULTILINE)
    for group, theirs in ports.items():
        (line,) = re.findall(rf"upstream {group} {{[^}}]*?\n(  server [^\n]*\n)", text)
        _, _, *options = line.strip("\n ;").replace(" resolve", "").split(" ")
        lines = (" ".join(["  server", f"127.0.0.1:{port}", *options]) + ";\n" for port in theirs)
        text = text.replace(line, "".join(lines), 1)
    (folder / name).write_text(text)


def configure(folder: Path, name: str, **replaced: str) -> Path:
    """Writes docker/nginx/NAME to a folder with what differs outside of a container, and returns its path."""
    text = (DOCKER / "nginx" / name).read_text().replace(" /tmp/", f" {folder}/")
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


@contextlib.contextmanager
def running(configuration: Path, ports: Sequence[int]) -> Iterator[None]:
    """Runs nginx with a configuration, from the moment it listens at all of its ports."""
    # Started by root, nginx would give its work to a user who may not look into the tests' folder.
    user = "user root; " if os.geteuid() == 0 else ""
    process = subprocess.Popen(
        [nginx(), "-c", str(configuration), "-p", str(configuration.parent), "-g", f"{user}daemon off;"]
    )
    try:
        deadline = time.monotonic() + START_S
        for port in ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert process.poll() is None, "nginx ended"
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def balancing(folder: Path, servers: Sequence[tuple[int, int]], **replaced: str) -> Iterator[Balancer]:
    """Runs the load balancer before servers, by their ports of gRPC and REST.

    Args:
      folder: for its files.
      servers: their ports.
      replaced: what else to replace in its configuration, by what is there.
    """
    grpc, rest, log = free_port(), free_port(), folder / "access.log"
    ours, theirs = ("serving_grpc", "serving_rest"), zip(*servers, strict=True)
    upstreams(folder, "upstreams.conf", **dict(zip(ours, theirs, strict=True)))
    replaced |= {
        "listen 8500": f"listen 127.0.0.1:{grpc}",
        "listen 8501": f"listen 127.0.0.1:{rest}",
        "access_log off": f"log_format who '$status $upstream_addr'; access_log {log} who",
    }
    with running(configure(folder, "nginx.conf", **replaced), (grpc, rest)):
        yield Balancer(f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{rest}", log)


@contextlib.contextmanager
def edge(folder: Path, page: int) -> Iterator[str]:
    """Runs the edge before a page at a port, with the certificate and passwords in the folder; gives its address."""
    port = free_port()
    upstreams(folder, "edge_upstream.conf", page=[page])
    moved = {"listen 8443": f"listen 127.0.0.1:{port}", "/etc/edge/": f"{folder}/"}
    with running(configure(folder, "edge.conf", **moved), [port]):
        yield f"https://127.0.0.1:{port}/"
