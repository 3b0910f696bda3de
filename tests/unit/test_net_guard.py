"""Addresses are judged after resolving, before connecting, whatever way they are written."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.errors import BlockedAddressError, DownloadError, UnsupportedInputError
from gs_video_report.media.web.net_guard import (
    BlockedLookup,
    NetPolicy,
    blocked,
    canonical_host,
    check_url,
    danger,
    guarded_sockets,
    resolve,
)
from tests.fakes.web import WebServer

OPEN = NetPolicy()


def answers(*addresses: str) -> Any:
    """A name server that gives these addresses for every name."""

    def lookup(host: str, port: int, *_: Any) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in addresses
        ]

    return lookup


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("fec0::1", "site-local"),
        ("255.255.255.255", "private"),
        ("240.0.0.1", "private"),
        ("192.0.2.1", "private"),
        ("198.18.0.1", "private"),
        ("169.254.169.254", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "cloud metadata"),
        ("::ffff:10.1.2.3", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "cloud metadata"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:c0a8:101::1", "private"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "private"),
        ("::127.0.0.1", "loopback"),
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address: str, kind: str) -> None:
    assert danger(ipaddress.ip_address(address)) == kind
    with pytest.raises(BlockedAddressError) as caught:
        resolve("video.example", 80, OPEN, answers(address))
    assert caught.value.data["host"] == "video.example"
    offered = "allow_private_hosts: [video.example]" in caught.value.hint
    assert offered is (kind not in ("cloud metadata", "unspecified", "multicast"))


@pytest.mark.parametrize("address", ["::1", "fd12::7", "10.0.0.7"])
def test_what_the_hint_offers_is_yaml_that_allows_the_host(address: str) -> None:
    """`[::1]` is a mapping to YAML."""
    error = blocked(address, ipaddress.ip_address(address))
    found = re.search(r"configuration: (.+) and then: ", error.hint)
    assert found
    words = yaml.safe_load(found[1])["download"]["allow_private_hosts"]
    assert NetPolicy(tuple(words)).allows(address, ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
     "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses_pass(address: str) -> None:
    assert danger(ipaddress.ip_address(address)) == ""
    assert resolve("video.example", 443, OPEN, answers(address))[0][1] == (address, 443)


@settings(max_examples=200)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_ipv6_dress(address: Any) -> None:
    number = int(address)
    plain = danger(address)
    for dressed in (f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}",
                    f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"):  # fmt: skip
        assert danger(ipaddress.ip_address(dressed)) == plain, dressed


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(BlockedAddressError, match=r"rebind\.example \(127\.0\.0\.1\)"):
        resolve("rebind.example", 80, OPEN, answers("8.8.8.8", "127.0.0.1"))


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "127.0.1", "017700000001",
     "00.0.0.0", "１２７.1", "fe80::1%eth0", "127.0.0.1%00"],
)  # fmt: skip
def test_addresses_in_unusual_writing_are_refused(host: str) -> None:
    with pytest.raises(BlockedAddressError):
        canonical_host(host)


@pytest.mark.parametrize("host", ["１２７.０.０.１", "127。0。0。1", "127.0.0.1", "127.0.0.1."])
def test_other_digits_and_dots_are_read_as_the_address_they_mean(host: str) -> None:
    found = canonical_host(host)
    assert found == "127.0.0.1"
    with pytest.raises(BlockedAddressError):
        resolve(found, 80, OPEN)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "addresses that begin with file: are not fetched"),
        ("ftp://example.com/a.mp4", "addresses that begin with ftp: are not fetched"),
        ("gopher://x/", "gopher"),
        ("//example.com/a.mp4", "begin with nothing"),
        ("http:///a.mp4", "names no host"),
        ("http://exa mple.com/", "space"),
        ("http://example.com\\@127.0.0.1/", "character"),
        ("http://example.com:99999/", "malformed"),
        ("http://[::1/", "malformed"),
    ],
)
def test_addresses_that_are_not_plain_http(url: str, words: str) -> None:
    with pytest.raises(UnsupportedInputError, match=words):
        check_url(url)


def test_a_password_is_left_out_and_a_query_kept() -> None:
    target = check_url("HTTPS://ann:geheim@Video.Example.:8443/a%20b.mp4?sig=1#t=5")
    assert (target.scheme, target.host, target.port) == ("https", "video.example", 8443)
    assert target.path == "/a%20b.mp4?sig=1"
    assert target.origin == "https://video.example:8443"


# --- what a person allows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "host", "address", "passes"),
    [
        ("nas.local", "nas.local", "192.168.1.5", True),
        ("NAS.local", "nas.local", "192.168.1.5", True),
        ("nas.local", "evil.example", "192.168.1.5", False),
        (".lan", "tv.lan", "10.0.0.9", True),
        (".lan", "notlan", "10.0.0.9", False),
        ("192.168.1.5", "any.example", "192.168.1.5", True),
        ("192.168.0.0/16", "any.example", "192.168.1.5", True),
        ("192.168.0.0/16", "any.example", "::ffff:192.168.1.5", True),
        ("192.168.0.0/16", "any.example", "10.0.0.1", False),
        ("*", "any.example", "127.0.0.1", True),
        ("*", "any.example", "169.254.169.254", False),
        ("any.example", "any.example", "169.254.169.254", False),
        ("169.254.0.0/16", "any.example", "169.254.169.254", False),
        ("169.254.169.254", "any.example", "169.254.169.254", True),
        ("*", "any.example", "::ffff:169.254.169.254", False),
        ("not/a/network", "any.example", "10.0.0.1", False),
    ],
)
def test_what_the_configuration_allows(allowed: str, host: str, address: str, passes: bool) -> None:
    assert NetPolicy((allowed,)).allows(host, ipaddress.ip_address(address)) is passes


def test_a_name_that_cannot_be_found_may_be_tried_again() -> None:
    def lookup(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(DownloadError, match=r"the host nowhere\.example cannot be found"):
        resolve("nowhere.example", 80, OPEN, lookup)


# --- libraries that connect by themselves -----------------------------------------------------


def test_guarded_sockets_refuse_before_a_packet_is_sent() -> None:
    with WebServer() as web, guarded_sockets(OPEN) as guard:
        with pytest.raises(BlockedLookup):
            socket.create_connection(("127.0.0.1", web.port), 2)
        with socket.socket() as sock, pytest.raises(BlockedLookup):
            sock.connect(("127.0.0.1", web.port))
        with socket.socket() as sock, pytest.raises(BlockedLookup):
            sock.connect_ex(("127.0.0.1", web.port))
        with socket.socket() as sock, pytest.raises(BlockedLookup):
            sock.connect(("localhost", web.port))
        assert guard.refused is not None
        assert guard.refused.data["address"] == "127.0.0.1"
    assert web.log == []


def test_guarded_sockets_let_allowed_hosts_through_and_end_with_the_block() -> None:
    with WebServer() as web:
        with guarded_sockets(NetPolicy(("localhost",))) as guard:
            socket.create_connection(("localhost", web.port), 2).close()
            with pytest.raises(BlockedLookup):
                socket.getaddrinfo("127.0.0.1", web.port)
        assert guard.refused is not None
        socket.create_connection(("127.0.0.1", web.port), 2).close()
    assert "connect" not in vars(socket.socket)


def test_the_decimal_form_does_not_slip_through_a_library() -> None:
    with guarded_sockets(OPEN) as guard, pytest.raises(OSError):
        socket.create_connection(("2130706433", 9), 2)
    assert guard.refused is not None
