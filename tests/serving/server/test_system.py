"""What the operating systems do differently; Windows is played."""

import ctypes
import socket
import sys
from types import SimpleNamespace

import pytest

from serving.server import system


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # which raises there for the program itself
    monkeypatch.setitem(sys.modules, "resource", None)  # which does not exist there
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", ~socket.SO_REUSEADDR, raising=False)  # its value there


def test_windows_trims_nothing_and_has_no_limit_of_files(windows: None) -> None:
    system.trim_heap()
    system.allow_open_files(1)


@pytest.mark.parametrize(
    ("limits", "raised"),
    [((256, 4096), (2000, 4096)), ((256, 1024), (1024, 1024)), ((256, -1), (2000, -1)), ((4000, 4096), None)],
)
def test_limit_of_files_is_raised_as_far_as_allowed_and_never_lowered(
    limits: tuple[int, int], raised: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    found: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: found.append(wanted))
    system.allow_open_files(2000)
    assert found == ([raised] if raised else [])


def test_port_is_exclusive_on_windows(windows: None) -> None:
    options: list[tuple[int, ...]] = []
    system.hold_alone(SimpleNamespace(setsockopt=lambda *option: options.append(option)))
    assert options == [(socket.SOL_SOCKET, ~socket.SO_REUSEADDR, 1)]
