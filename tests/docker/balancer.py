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
    """A running nginx, and the file to which it writes who answered what."""

    grpc_port: int
    rest_port: int
    log: Path

    @property
    def grpc(self) -> str:
        return f"grpc://127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def answered(self) -> Counter[int]:
        """Returns how many calls went well at each server, by its port."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return Counter(int(upstream.rsplit(":", 1)[1]) for status, upstream in lines if status == "200")


def nginx() -> str:
    """Returns nginx's path; skips the test where there is none."""
    # Debian has it where only root's PATH leads.
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("there is no nginx")


def upstreams(file: Path, servers: dict[str, Sequence[str]]) -> str:
    """Returns the text of a file of upstreams with other servers, by the group's name; all limits stay as they are.

    Addresses need no resolver, and `resolve` no nginx that is later than Debian's.
    """
    text = re.sub(r"^resolver .*\n", "", file.read_text(), flags=re.MULTILINE)
    for group, addresses in servers.items():
        (line,) = re.findall(rf"upstream {group} {{[^}}]*?\n(  server [^\n]*)", text)
        _, _, options = line.strip().removesuffix(";").split(" ", 2)
        options = options.replace("resolve", "").strip()
        lines = [f"  server {address} {options};".replace(" ;", ";") for address in addresses]
        text = text.replace(line, "\n".join(lines), 1)
    return text


def configure(folder: Path, name: str, **replaced: str) -> Path:
    """Writes docker/nginx/NAME to a folder with what differs outside of a container, and returns its path."""
    text = (DOCKER / "nginx" / name).read_text().replace(" /tmp/", f" {folder}/")
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def command(configuration: Path) -> list[str]:
    # Started by root, nginx would give its work to a user who may not look into the tests' folder.
    user = "user root; " if os.geteuid() == 0 else ""
    return [nginx(), "-c", str(configuration), "-p", str(configuration.parent), "-g", f"{user}daemon off;"]


@contextlib.contextmanager
def balancing(folder: Path, grpc: Sequence[int], rest: Sequence[int], **replaced: str) -> Iterator[Balancer]:
    """Runs nginx before servers at these ports, with what else a test replaces in its configuration."""
    balancer = Balancer(free_port(), free_port(), folder / "access.log")
    ways = {"serving_grpc": grpc, "serving_rest": rest}
    servers = {group: [f"127.0.0.1:{port}" for port in ports] for group, ports in ways.items()}
    (folder / "upstreams.conf").write_text(upstreams(DOCKER / "nginx" / "upstreams.conf", servers))
    configuration = configure(
        folder,
        "nginx.conf",
        **{
            "listen 8500": f"listen 127.0.0.1:{balancer.grpc_port}",
            "listen 8501": f"listen 127.0.0.1:{balancer.rest_port}",
            "access_log off": f"log_format who '$status $upstream_addr'; access_log {balancer.log} who",
            **replaced,
        },
    )
    process = subprocess.Popen(command(configuration))
    try:
        _wait_until_open(process, (balancer.grpc_port, balancer.rest_port))
        yield balancer
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_open(process: subprocess.Popen[bytes], ports: Sequence[int]) -> None:
    deadline = time.monotonic() + START_S
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "nginx ended"
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.05)
