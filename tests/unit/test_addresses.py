"""Where an address leads, and who gets the key and the companion's words: real sockets on loopback, names and numbers
of a made-up internet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.test_remote import FAST, HELLO, Server, send_json
from zwaif_fallback.addresses import HOST, TRUSTED, is_this_machine, same_server, trusts
from zwaif_fallback.answering.second_server import KEY_VARIABLE, Deadlines, SecondServerClient, second_server
from zwaif_fallback.errors import EngineError
from zwaif_hooks.network.addresses import Place, looked_up, place

KEY = "sk-the-owner-s"
METADATA = "169.254.169.254"

HERE = "0 0.0.0.0 :: ::1 [::1] 127.1 2130706433 0x7f.1 0177.0.0.1 ::ffff:127.0.0.1 localhost LOCALHOST. a.localhost"
NEAR = "10.0.0.7 10.1 192.168.1.5 172.16.0.1 172.31.255.255 0xC0A80105 fd12::1 ::ffff:192.168.1.5"
FAR = "8.8.8.8 134744072 172.32.0.1 100.64.0.1 255.255.255.255 2001:4860:4860::8888 ::ffff:8.8.8.8"
NOWHERE = (
    f"{METADATA} 2852039166 0xA9FEA9FE 169.254.43518 0251.0376.0251.0376 ::ffff:169.254.169.254 [::ffff:a9fe:a9fe] "
    "169.254.169.254. 169\u3002254\u3002169\u3002254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: fe80::1 fe80::1%eth0 "
    "fd00:ec2::254 224.0.0.1 ff02::1 1"
)
NAMES = "gpu-box llm.example 127.evil.example 10.evil.example localhost.evil.example"


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        (host, where)
        for hosts, where in (
            (HERE, Place.THIS_MACHINE),
            (NEAR, Place.PRIVATE),
            (FAR, Place.ELSEWHERE),
            (NOWHERE, Place.NOWHERE),
            (NAMES, None),
        )
        for host in hosts.split()
    ],
)
def test_an_address_is_read_as_a_socket_reads_it(host: str, meant: Place | None) -> None:
    assert place(host) is meant


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:5000", "http://localhost:5000/v1", True),
        ("[::1]:5000", "LOCALHOST:5000", True),
        ("http://127.0.0.1", "localhost:80", True),
        ("https://example.org", "example.org:443", True),
        ("0.0.0.0:11434", "127.0.0.1:11434", True),
        ("127.1:5000", "2130706433:5000", True),
        ("10.0.0.1:5000", "0x0A000001:5000", True),
        ("127.0.0.1:5000", "127.0.0.1:5001", False),
        ("127.evil.example:5000", "127.0.0.1:5000", False),
        ("10.0.0.1:5000", "127.0.0.1:5000", False),
        ("", "", False),
        ("localhost:99999", "localhost:5000", False),
        ("[::1", "localhost:80", False),
    ],
)
def test_same_server(one: str, other: str, same: bool) -> None:
    assert same_server(one, other) is same
    assert same_server(other, one) is same


def test_this_machine() -> None:
    assert is_this_machine("http://127.1:5000/v1")
    assert not is_this_machine("127.evil.example:5000")


@pytest.mark.parametrize(
    ("named", "trusted", "host", "is_trusted"),
    [
        ("https://api.example/v1", "", "https://api.example/v1", True),
        ("https://api.example/v1", "", "https://API.example:443", True),
        ("https://api.example/v1", "", "http://api.example/v1", False),
        ("https://api.example/v1", "", "https://api.example:8443/v1", False),
        ("https://api.example/v1", "", "https://api.example.evil.example/v1", False),
        ("https://evil.example", "https://api.example/v1", "https://evil.example", False),
        ("https://evil.example", "https://api.example/v1", "https://api.example/v1", True),
        ("https://none", "none", "https://none", False),
        ("", "", "", False),
    ],
)
def test_whom_the_owner_named(named: str, trusted: str, host: str, is_trusted: bool) -> None:
    assert trusts({HOST: named, TRUSTED: trusted}.__getitem__, host) is is_trusted


class Internet:
    """Names and addresses that all lead to one server on loopback; sockets tell the addresses that were asked for."""

    def __init__(self, server: Server, patch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, str] = {}
        self.connected: list[str] = []
        real, peers = socket.getaddrinfo, dict[int, tuple[str, int]]()
        connect, peer = socket.socket.connect, socket.socket.getpeername
        port = server.http.server_port

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            found = real(self.names.get(host, host), *args, **kwargs)
            return found

        def connecting(sock: socket.socket, address: tuple[str, int]) -> None:
            if address[1] == port:
                self.connected.append(address[0])
                peers[id(sock)] = address
                address = ("127.0.0.1", port)
            connect(sock, address)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket.socket, "connect", connecting)
        patch.setattr(socket.socket, "getpeername", lambda sock: peers.get(id(sock)) or peer(sock))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def internet(server: Server, monkeypatch: pytest.MonkeyPatch) -> Internet:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return Internet(server, monkeypatch)


def second(server: Server, name: str, named: str = "", trusted: str = "none") -> SecondServerClient:
    """As the settings have it; ``trusted`` is as the page leaves it."""
    settings = {HOST: named, TRUSTED: trusted}
    return second_server(settings.__getitem__, f"{name}:{server.http.server_port}", "m", FAST)


def test_a_host_of_the_page_gets_words_in_the_private_network_and_never_the_key(
    server: Server, internet: Internet
) -> None:
    internet.names["gpu-box"] = "192.168.1.20"
    assert "".join(second(server, "gpu-box").stream(HELLO)) == "Hello there"
    assert second(server, "127.0.0.1").models()
    assert internet.connected == ["192.168.1.20", "127.0.0.1"]
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("leads_to", ["8.8.8.8", METADATA])
def test_a_name_that_leads_elsewhere_gets_not_a_byte(server: Server, internet: Internet, leads_to: str) -> None:
    """It led to the private network when it was checked."""
    internet.names["rebinding.example"] = "10.0.0.5"
    chat = second(server, "rebinding.example")
    assert chat.models()
    internet.names["rebinding.example"] = leads_to
    with pytest.raises(EngineError, match=r"outside your private network|no LLM server has") as refused:
        list(chat.stream(HELLO))
    assert internet.connected[-1] == leads_to
    assert server.bodies == []
    assert leads_to not in str(refused.value), "where a name leads is not the page's business"


@pytest.mark.parametrize("host", ["8.8.8.8", "134744072", METADATA, "0xA9FEA9FE", "[::ffff:a9fe:a9fe]"])
def test_a_number_elsewhere_is_not_even_connected_to(server: Server, internet: Internet, host: str) -> None:
    with pytest.raises(EngineError, match="is not asked"):
        second(server, host)
    assert internet.connected == []


def test_link_local_is_asked_for_nobody(server: Server, internet: Internet) -> None:
    internet.names["api.example"] = METADATA
    own = f"api.example:{server.http.server_port}"
    with pytest.raises(EngineError, match="no LLM server has"):
        list(second(server, "api.example", named=own, trusted="").stream(HELLO))
    assert server.bodies == []


def test_a_host_named_by_hand_is_asked_anywhere_but_gets_no_key_in_the_clear(
    server: Server, internet: Internet
) -> None:
    internet.names["api.example"] = "8.8.8.8"
    own = f"api.example:{server.http.server_port}"
    chat = second(server, "api.example", named=own, trusted="")
    assert "".join(chat.stream(HELLO)) == "Hello there"
    assert "Authorization" not in server.headers[0]
    server.answer = lambda handler, body: send_json(handler, {"error": "who?"}, 401)
    with pytest.raises(EngineError, match="is not sent over plain http"):
        list(chat.stream(HELLO))


def test_this_machine_gets_the_key_of_its_own_host(server: Server, internet: Internet) -> None:
    own = f"localhost:{server.http.server_port}"
    assert "".join(second(server, "127.0.0.1", named=own, trusted="").stream(HELLO)) == "Hello there"
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    internet.names["localhost"] = "192.168.1.66"
    with pytest.raises(EngineError, match="another computer"):
        list(second(server, "localhost", named=own, trusted="").stream(HELLO))
    assert len(server.headers) == 1


def test_another_host_is_told_why_it_gets_no_key(server: Server, internet: Internet) -> None:
    server.answer = lambda handler, body: send_json(handler, {"error": "who?"}, 401)
    with pytest.raises(EngineError, match=f"{KEY_VARIABLE} is another host's.* settings set {HOST} http") as refused:
        list(second(server, "127.0.0.1", trusted="https://api.example").stream(HELLO))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("named_by_hand", [True, False])
def test_no_proxy_sees_what_is_not_encrypted_or_near_by(
    server: Server, internet: Internet, monkeypatch: pytest.MonkeyPatch, named_by_hand: bool
) -> None:
    """The proxy is the server: what came through it would have a whole URL for its path."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.http.server_port}")
    internet.names["near.example"] = "192.168.1.20"
    own = f"near.example:{server.http.server_port}" if named_by_hand else ""
    assert "".join(second(server, "near.example", own, "" if own else "none").stream(HELLO)) == "Hello there"
    assert internet.connected == ["192.168.1.20"]


@pytest.mark.parametrize(("leads_to", "by_proxy"), [("8.8.8.8", True), ("192.168.1.20", False), ("", True)])
def test_a_proxy_gets_a_tunnel_to_the_world_only(
    server: Server, internet: Internet, monkeypatch: pytest.MonkeyPatch, leads_to: str, by_proxy: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(5)
        port = proxy.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(socket, "getaddrinfo", _resolver(socket.getaddrinfo, leads_to))
        own = f"https://api.example:{server.http.server_port}"
        chat = SecondServerClient(own, "m", deadlines=Deadlines(1.0, 0.5, 0.5), api_key=KEY, trusted=True)
        with pytest.raises(EngineError):
            chat.models(0.5)
        if not by_proxy:
            assert internet.connected == [leads_to]
            return
        with proxy.accept()[0] as tunnel:
            asked = tunnel.recv(65536)
        assert asked.startswith(b"CONNECT api.example:")
        assert KEY.encode() not in asked


def _resolver(real: Any, leads_to: str) -> Any:
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "api.example" and not leads_to:
            raise socket.gaierror("no such name")
        return real(leads_to if host == "api.example" else host, *args, **kwargs)

    return getaddrinfo


@pytest.mark.parametrize("leads_to", [["10.0.0.1", "8.8.8.8"], ["10.0.0.1", "::ffff:169.254.169.254"], []])
def test_a_name_is_as_far_away_as_its_farthest_address(leads_to: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (number, 0)) for number in leads_to]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: entries)
    meant = {0: None, 2: place(leads_to[-1]) if leads_to else None}[len(leads_to)]
    assert looked_up("two.example") is meant
