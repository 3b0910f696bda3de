"""Which hosts and addresses a download may connect to.

True here: an address is judged after the name is resolved and before the connection is made, and
the connection goes to the judged address itself; so a name that resolves differently a moment
later (DNS rebinding) gains nothing. If one of a name's addresses is refused, the name is.
Allowed are addresses of the public internet, and what `NetPolicy.allowed` lists. Addresses at
which cloud machines hand out credentials are refused unless listed one by one.
Never: connects; decides what is done with the content.
Raises: BlockedAddressError, DownloadError (the name cannot be resolved).

Sources: IANA special-purpose address registries (RFC 6890 and updates); OWASP "Server-Side Request
Forgery Prevention"; RFC 4291, 6052, 3056, 4380 for IPv4 addresses inside IPv6 ones.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gs_video_report.errors import BlockedAddressError, DownloadError, UnsupportedInputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[..., list[Any]]
"""The signature of `socket.getaddrinfo`."""

EVERYTHING = "*"

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_NEVER_OFFERED = frozenset({"cloud metadata", "unspecified", "multicast"})
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.ip_network("::/96")
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}\.?\Z")
_NO_SUCH_NAME = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
)
"""A name server answered: the fault is the name's, not the network's."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class NetPolicy:
    """What is allowed besides the public internet.

    Args:
        allowed: host names (`nas.local`), domains (`.lan` covers every host below it), addresses
            (`192.168.1.7`), networks (`10.0.0.0/8`), or `*` for every private address.
    """

    allowed: tuple[str, ...] = ()

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection to `address`, found under the name `host`, may be made."""
        if not danger(address):
            return True
        exact = {str(address), str(inner(address))}
        if any(word.strip("[]").lower() in exact for word in self.allowed):
            return True
        if inner(address) in _METADATA:
            return False
        return any(_covers(word.lower(), host.lower(), address) for word in self.allowed)


def _covers(word: str, host: str, address: Address) -> bool:
    if word in (EVERYTHING, host):
        return True
    if word.startswith("."):
        return host.endswith(word)
    network = _network(word)
    return network is not None and any(
        a.version == network.version and a in network for a in (address, inner(address))
    )


def _network(word: str) -> Network | None:
    try:
        return ipaddress.ip_network(word, strict=False) if "/" in word else None
    except ValueError:
        return None


# --- judging, pure -----------------------------------------------------------------------------


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address carries (mapped, NAT64, 6to4, Teredo), or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    found = address.ipv4_mapped or address.sixtofour
    if found is None and address.teredo is not None:
        found = address.teredo[1]
    if found is None and any(address in network for network in _NAT64):
        found = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if found is None and address in _COMPATIBLE and int(address) > 1:
        found = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address if found is None else found


def danger(address: Address) -> str:
    """Why an address is not of the public internet, one or two words; empty when it is.

    An IPv6 address that carries an IPv4 one is judged by both.
    """
    carried = inner(address)
    if carried in _METADATA:
        return "cloud metadata"
    if carried is not address and _kind(carried):
        return _kind(carried)
    if carried is not address and isinstance(address, ipaddress.IPv6Address):
        return ""  # the ranges that carry addresses are themselves marked reserved
    return _kind(address)


def _kind(address: Address) -> str:
    checks = (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("shared", address.version == 4 and address in _SHARED),
        ("site-local", isinstance(address, ipaddress.IPv6Address) and address.is_site_local),
        ("private", address.is_private),
        ("reserved", address.is_reserved or not address.is_global),
    )
    return next((word for word, is_so in checks if is_so), "")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    scheme: str
    """`http` or `https`."""
    host: str
    """Lower case, ASCII; an IPv6 address without brackets."""
    port: int
    path: str
    """Path and query as sent; starts with `/`."""

    @property
    def origin(self) -> str:
        """`https://host:port`, for messages; never holds a query, which may be a secret."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{shown}" + ("" if self.port == default else f":{self.port}")


def check_url(url: str) -> Target:
    """Read an address strictly. Pure: the name is not resolved.

    A user name and password in it are left out.

    Raises:
        UnsupportedInputError: not http(s), or malformed.
        BlockedAddressError: the host is a number in a form that programs read differently
            (`2130706433`, `0177.0.0.1`, `0x7f.1`, `127.1`).
    """
    if _UNSAFE.search(url):
        raise UnsupportedInputError("the address holds a space or a character it must not hold")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UnsupportedInputError("the address is malformed") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise UnsupportedInputError(
            f"addresses that begin with {parts.scheme[:20] or 'nothing'}: are not fetched",
            hint="give an address that begins with https:// or http://",
        )
    scheme = parts.scheme.lower()
    host = canonical_host(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target_port = port if port is not None else {"http": 80, "https": 443}[scheme]
    return Target(scheme, host, target_port, path if path.startswith("/") else f"/{path}")


def canonical_host(host: str) -> str:
    """The host in ASCII and lower case, an address in its only form. Raises: as `check_url`."""
    if "%" in host:  # a zone such as fe80::1%eth0, or an encoded character
        raise BlockedAddressError(f"the host {host[:80]} is not a plain name or address")
    text = unicodedata.normalize("NFKC", host).lower().rstrip(".")
    if not text:
        raise UnsupportedInputError("the address names no host")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if _NUMERIC.match(text):
        raise BlockedAddressError(
            f"the host {host[:80]} is an address written in an unusual form",
            hint="write the address with four decimal numbers, or use a name",
        )
    try:
        return text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UnsupportedInputError("the host of the address is not a valid name") from error


# --- resolving ---------------------------------------------------------------------------------


def resolve(
    host: str, port: int, policy: NetPolicy, lookup: Lookup | None = None
) -> list[tuple[int, Any]]:
    """The addresses of `host`, all of them allowed: (family, socket address), best first.

    Args:
        lookup: in place of `socket.getaddrinfo`.

    Raises:
        BlockedAddressError: one of the addresses is refused.
        DownloadError: the name has no address now.
    """
    try:
        found = (lookup or socket.getaddrinfo)(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        unknown = isinstance(error, UnicodeError) or getattr(error, "errno", None) in _NO_SUCH_NAME
        raise DownloadError(
            f"the host {host} cannot be found",
            hint="check the spelling of the address and the network connection",
            host=host,
            unreachable=not unknown,
        ) from error
    check_addresses(host, (str(entry[4][0]) for entry in found), policy)
    if not found:
        raise DownloadError(f"the host {host} has no address", host=host)
    return [(int(entry[0]), entry[4]) for entry in found]


def check_addresses(host: str, addresses: Iterable[str], policy: NetPolicy) -> None:
    """Raise BlockedAddressError unless every address of `host` is allowed."""
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not policy.allows(host, address):
            raise blocked(host, address)


def blocked(host: str, address: Address) -> BlockedAddressError:
    """The error that names the host, the address and, where a video may be, how to allow it."""
    shown = host if host == str(address) else f"{host} ({address})"
    kind = danger(address)
    word = f"'{host}'" if ":" in host else host  # plain YAML reads ::1 as a mapping
    hint = (
        "if you trust it, add this line to your configuration: "
        f"download: {{allow_private_hosts: [{word}]}} and then: gsvr batch retry latest --failed"
    )
    if kind in _NEVER_OFFERED:
        hint = "no video is at such an address; check the list, and where it comes from"
    return BlockedAddressError(
        f"{shown} is not on the public internet ({kind} address)",
        hint=hint,
        host=host,
        address=str(address),
    )


# --- guarding a library that opens its own connections -----------------------------------------


class BlockedLookup(OSError):
    """What a guarded library sees; `SocketGuard.refused` holds the error for people."""


@dataclass(slots=True)
class SocketGuard:
    """What `guarded_sockets` refused."""

    policy: NetPolicy
    refused: BlockedAddressError | None = None
    """The first refusal; None when there was none."""
    _hosts: dict[str, str] = field(default_factory=dict)
    """Address -> name under which it was looked up."""

    def looked_up(self, host: str, entries: list[Any]) -> None:
        """Judge the answer of a name server. Raises: BlockedLookup."""
        for entry in entries:
            self.check(host, str(entry[4][0]))
            self._hosts[str(entry[4][0])] = host

    def connecting(self, address: Any) -> None:
        """Judge the address of a connection. Raises: BlockedLookup."""
        if not isinstance(address, tuple):  # a socket of this machine's file system
            return
        self.check(self._hosts.get(str(address[0]), str(address[0])), str(address[0]))

    def check(self, host: str, text: str) -> None:
        """Raise BlockedLookup unless `text` is an allowed address of `host`."""
        try:
            check_addresses(host, [text], self.policy)
        except BlockedAddressError as error:
            self.refused = self.refused or error
            raise BlockedLookup(error.message) from error
        except ValueError as error:  # a name: it would be resolved where nobody looks
            raise BlockedLookup(f"a connection to the name {text} was not resolved here") from error


@contextmanager
def guarded_sockets(policy: NetPolicy) -> Iterator[SocketGuard]:
    """While the body runs, every Python socket of this process keeps to `policy`.

    Covers all threads and every library that goes through Python's `socket`; code that opens
    connections by itself in C, and other processes, are not covered.
    """
    guard = SocketGuard(policy)
    lookup = socket.getaddrinfo
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_lookup(host: Any, *args: Any, **more: Any) -> list[Any]:
        found = lookup(host, *args, **more)
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        guard.looked_up(name, found)
        return found

    def guarded_connect(sock: socket.socket, address: Any) -> None:
        guard.connecting(address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
        guard.connecting(address)
        return connect_ex(sock, address)

    changes: list[tuple[Any, str, Any]] = [
        (socket, "getaddrinfo", guarded_lookup),
        (socket.socket, "connect", guarded_connect),
        (socket.socket, "connect_ex", guarded_connect_ex),
    ]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield guard
    finally:
        socket.getaddrinfo = lookup
        for name in ("connect", "connect_ex"):  # inherited from the C class: ours go away
            delattr(socket.socket, name)
