"""The way to a server on the network: its address, TLS, what every call carries, proxies, and the time to connect."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import urlsplit

import grpc
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError

from serving.contract import CA_VARIABLE, GRPC_OPTIONS, HEADERS_VARIABLE, TOKEN_VARIABLE
from serving.errors import InvalidInput

CONNECT_S = 10.0  # longest wait for a connection: an unreachable machine must not use up the call's whole timeout
CHANNEL_OPTIONS = (
    *GRPC_OPTIONS,
    ("grpc.min_reconnect_backoff_ms", int(1000 * CONNECT_S)),  # gRPC's name for the connect timeout
    # Short, because serving/endpoints.py waits between retries: a channel that is still waiting refuses the retry.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
SCHEMES = ("grpc", "grpcs", "http", "https")
_HEADER_NAME = re.compile(r"[a-z0-9_.-]+(?<!-bin)")  # gRPC takes the values of -bin as binary
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_AUTHORIZATION = "authorization"


class Access(TypedDict, total=False):
    """What a server wants of its clients. The environment gives what is None or left out."""

    ca: str | None  # path of a PEM file with the certificates to trust; "" and by default: the public authorities
    token: str | None  # sent with every call as `Authorization: Bearer TOKEN`
    headers: Mapping[str, str] | None  # sent with every call


@dataclass(frozen=True)
class Remote:
    """A server on the network: its address, `SCHEME://HOST:PORT`, `ca` as in Access, and secret headers."""

    address: str
    ca: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, address: str, **access: Unpack[Access]) -> Self:
        """Returns the server at an address.

        Raises InvalidInput, without secrets, if the address or one of `access` is malformed, or a token would cross the
        network unencrypted.
        """
        if "@" in address:
            raise InvalidInput("`server` must hold no user name and no password. Give a `token` or `headers` instead")
        try:
            parts = urlsplit(address)
            known = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
        except ValueError:  # half an IPv6 address, or a port that is no number up to 65535
            known = False
        if not known:
            raise InvalidInput(
                "`server` must be grpc://HOST:PORT, http://HOST:PORT or the path of a SavedModel, or with TLS grpcs:// "
                f"or https://. Received: {address}"
            )
        ca, token, headers = access.get("ca"), access.get("token"), access.get("headers")
        ca = os.environ.get(CA_VARIABLE, "") if ca is None else ca
        token = os.environ.get(TOKEN_VARIABLE, "").strip() if token is None else token
        headers = _headers_of_environment() if headers is None else headers
        server = cls(address.rstrip("/"), ca, _headers_with(token, headers))
        if not server.encrypted and _AUTHORIZATION in server.headers and not server.is_loopback:
            secure = f"{server.scheme}s://"
            raise InvalidInput(f"`token` must not cross the network unencrypted. Use {secure} in place of {address}")
        if server.encrypted and ca:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
            except OSError as error:  # among them ssl.SSLError
                raise InvalidInput(f"`ca` must be a PEM file of certificates. Received: {ca}") from error
        return server

    def __str__(self) -> str:
        return self.address

    @property
    def scheme(self) -> str:
        return urlsplit(self.address).scheme

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("grpcs", "https")

    @property
    def is_loopback(self) -> bool:
        """Whether calls stay on this machine."""
        host = urlsplit(self.address).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def without_secrets(self, text: str) -> str:
        """Returns a server's text without the headers' values, which it may repeat."""
        for name, value in self.headers.items():
            secret = value.rpartition(" ")[2] if name == _AUTHORIZATION else value  # without `Bearer` or `Basic`
            text = text.replace(secret, "***")
        return text

    def channel(self) -> grpc.Channel:
        target = self.address.partition("://")[2]
        # A proxy in the environment stands between this machine and others. gRPC would ask it for this machine, too.
        options = (*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", int(not self.is_loopback)))
        if not self.encrypted:
            return grpc.insecure_channel(target, options)
        roots = Path(self.ca).read_bytes() if self.ca else None
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # of all that requests takes from there, ~/.netrc would replace the token
        session.proxies = {} if self.is_loopback else get_environ_proxies(self.address)
        session.verify = self.ca or True
        session.headers.update(self.headers)
        session.mount(f"{self.scheme}://", _Adapter(pool_maxsize=100))  # threads that share a client, without a warning
        return session


def _headers_of_environment() -> dict[str, str]:
    lines = [line.partition(":") for line in os.environ.get(HEADERS_VARIABLE, "").splitlines() if line.strip()]
    if not all(colon for _, colon, _ in lines):
        raise InvalidInput(f"`{HEADERS_VARIABLE}` must hold lines `Name: value`. Received: a line without a colon")
    return {name.strip(): value.strip() for name, _, value in lines}


def _headers_with(token: str, headers: Mapping[str, str]) -> dict[str, str]:
    sent = {name.lower(): value for name, value in headers.items()}
    for name, value in sent.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise InvalidInput(
                "`headers` must have names of letters, digits, `-`, `_` and `.`, none ending in -bin, and values of "
                f"printable ASCII. Received: a wrong name or value of `{name}`"
            )
    if token and (" " in token or not _HEADER_VALUE.fullmatch(token)):
        raise InvalidInput(f"`token` must be printable ASCII without spaces. Received: {len(token)} characters")
    if token and _AUTHORIZATION in sent:
        raise InvalidInput("`token` must not be given beside an Authorization header. Received: both")
    return sent | ({_AUTHORIZATION: f"Bearer {token}"} if token else {})


class _Timeouts:
    """Gives a connection of urllib3 CONNECT_S to connect, and the call's timeout to send.

    By itself urllib3 sends under the connect timeout on a new connection, and under the last call's on an old one.
    """

    def connect(self: Any) -> None:
        call_s, self.timeout = self.timeout, min(CONNECT_S, self.timeout)
        try:
            super().connect()  # type: ignore[misc]
        except TimeoutError as error:  # in the handshake of TLS, which urllib3 counts as reading
            raise ConnectTimeoutError(self, "The connection was not set up in time.") from error
        finally:
            self.timeout = call_s

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.timeout)
        super().send(data)  # type: ignore[misc]


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if not issubclass(pool.ConnectionCls, _Timeouts):
            pool.ConnectionCls = type("Connection", (_Timeouts, pool.ConnectionCls), {})
        return pool
