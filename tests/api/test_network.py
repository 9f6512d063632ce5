"""Proxy and certificates of the environment, for a host that is not on the loopback interface."""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import certifi
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.network import bypasses, network_for
from reconciler.errors import ApiError, UsageError
from reconciler.model.secret import Secret
from tests.api.conftest import Clock

HOST = "https://api.example/v1"
PROXY = "http://proxy.example:3128"


def proxy_of(environ: Mapping[str, str], base_url: str = HOST) -> str | None:
    proxy = network_for(base_url, environ).proxy
    return None if proxy is None else str(proxy.url)


@pytest.mark.parametrize(
    ("exceptions", "host", "expected"),
    [
        ("fd00::/8", "fd12::7", True),
        ("fd00::/8", "fe80::1", False),
        ("[fd00::1]", "fd00::1", True),
        ("::1,2001:db8::/32", "2001:db8::5", True),
        ("2001:db8::5", "2001:0db8:0:0:0:0:0:5", True),
        ("10.0.0.0/8", "10.2.3.4", True),
        ("10.0.0.0/8", "11.2.3.4", False),
        ("10.0.0.1/8", "10.2.3.4", True),
        ("10.0.0.0/8", "10.example", False),
        ("10.0.0.0/99", "10.2.3.4", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("example.com", "api.example.com", True),
        ("example.com", "example.com", True),
        (".example.com", "example.com", True),
        ("*.example.com", "api.example.com", True),
        ("example.com", "badexample.com", False),
        ("EXAMPLE.com", "api.Example.COM.", True),
        ("localhost, example.com", "example.com", True),
        ("localhost example.com", "example.com", True),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("[fd00::1]:443", "fd00::1", True),
        ("https://example.com", "example.com", True),
        ("*", "anything.example", True),
        (",, ,[,]:x,/,//", "example.com", False),
        ("", "example.com", False),
    ],
)
def test_no_proxy_lists_hosts_as_for_curl(exceptions: str, host: str, expected: bool) -> None:
    assert bypasses(exceptions, host, 443) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.example"}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "[::1],fd00::/8,fe80::/10,10.0.0.0/8"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "example", "NO_PROXY": "other"}, None),
        ({"HTTPS_PROXY": "no proxy at all", "NO_PROXY": "*"}, None),
    ],
)
def test_the_proxy_is_the_one_that_curl_takes(
    environ: Mapping[str, str], expected: str | None
) -> None:
    assert proxy_of(environ) == expected


@pytest.mark.parametrize(
    "base_url", ["https://127.0.0.1:8443/v1", "https://[::1]/v1", "http://localhost:1/v1"]
)
def test_the_loopback_is_never_reached_through_a_proxy(base_url: str) -> None:
    assert proxy_of({"ALL_PROXY": PROXY}, base_url) is None


@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "foo:bar",
        "http://[::1",
        "http://a b",
        "http://h:99999",
        "ftp://h:1",
        "http://xn--/",
        "\udcff",
    ],
)
def test_a_proxy_that_makes_no_sense_is_an_error_that_names_its_variable(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        network_for(HOST, {"HTTPS_PROXY": value})
    assert "HTTPS_PROXY" in str(caught.value)
    assert "NO_PROXY" in caught.value.hint


def test_a_refused_proxy_does_not_show_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        network_for(HOST, {"HTTPS_PROXY": "http://user:hunter2secret@h:port"})
    assert "hunter2secret" not in str(caught.value) + caught.value.hint


@pytest.mark.skipif(
    importlib.util.find_spec("socksio") is not None, reason="the package is installed"
)
def test_a_socks_proxy_without_its_package_names_the_variable_and_the_cure() -> None:
    with pytest.raises(UsageError, match=r"ALL_PROXY names a SOCKS proxy") as caught:
        network_for(HOST, {"ALL_PROXY": "socks5://127.0.0.1:1080"})
    assert "extra `socks`" in caught.value.hint


# --- certificates


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """Files and folders that a variable may name, by what is wrong with them."""
    made = {name: tmp_path / name for name in ("missing", "empty", "garbage", "folder")}
    made["empty"].write_bytes(b"")
    made["garbage"].write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n\xff")
    made["folder"].mkdir()
    return made


@pytest.mark.parametrize("which", ["missing", "empty", "garbage", "folder"])
def test_an_unusable_certificate_file_is_an_error_that_names_its_variable(
    certificates: dict[str, Path], which: str
) -> None:
    with pytest.raises(UsageError) as caught:
        network_for(HOST, {"SSL_CERT_FILE": str(certificates[which])})
    assert str(caught.value).startswith(f"SSL_CERT_FILE ({certificates[which]})")


@pytest.mark.parametrize("which", ["missing", "empty", "folder"])
def test_a_certificate_folder_that_holds_none_is_an_error_that_names_its_variable(
    certificates: dict[str, Path], which: str
) -> None:
    with pytest.raises(UsageError, match=r"^SSL_CERT_DIR \("):
        network_for(HOST, {"SSL_CERT_DIR": str(certificates[which])})


def test_a_key_log_that_cannot_be_written_is_an_error_that_names_its_variable(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"^SSLKEYLOGFILE \("):
        network_for(HOST, {"SSLKEYLOGFILE": str(tmp_path / "missing" / "keys")})


def test_a_certificate_file_replaces_the_bundled_certificates(tmp_path: Path) -> None:
    first, end, _ = (
        Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    )
    single = tmp_path / "one.pem"
    single.write_text(first + end, encoding="utf-8")
    assert len(network_for(HOST, {"SSL_CERT_FILE": str(single)}).context.get_ca_certs()) == 1
    assert len(network_for(HOST, {}).context.get_ca_certs()) > 1


def test_an_empty_variable_counts_as_unset() -> None:
    assert network_for(HOST, {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}).context.get_ca_certs()


def test_certificates_are_always_verified() -> None:
    context = network_for(HOST, {}).context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


# --- through a proxy


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that refuses every tunnel: its address, and the first lines that it was sent."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(4096).split(b"\r\n")[0])
                connection.sendall(
                    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_calls_go_through_the_proxy_and_its_refusal_names_the_variable(
    proxy: tuple[str, list[bytes]], clock: Clock
) -> None:
    address, heard = proxy
    client = Client(
        HOST,
        clock=clock,
        sleep=clock.sleep,
        environ={"HTTPS_PROXY": f"http://user:hunter2secret@{address}"},
    )
    with pytest.raises(ApiError) as caught:
        client.request(
            "GET", "/files", key=Key(Secret("sk-project-0000000000001234"), "OPENAI_API_KEY")
        )
    client.close()
    assert heard[0] == b"CONNECT api.example:443 HTTP/1.1"
    assert f"the proxy {address} (HTTPS_PROXY)" in caught.value.hint
    assert "hunter2secret" not in str(caught.value) + caught.value.hint


def test_an_ipv6_range_in_no_proxy_leaves_other_hosts_to_the_proxy(
    proxy: tuple[str, list[bytes]], clock: Clock
) -> None:
    address, heard = proxy
    environ = {
        "HTTPS_PROXY": address,
        "NO_PROXY": "localhost,127.0.0.1,::1,[::1],fd00::/8,.local,10.0.0.0/8",
    }
    client = Client("https://[2001:db8::7]/v1", clock=clock, sleep=clock.sleep, environ=environ)
    with pytest.raises(ApiError):
        client.request(
            "GET", "/files", key=Key(Secret("sk-project-0000000000001234"), "OPENAI_API_KEY")
        )
    client.close()
    assert heard[0].startswith(b"CONNECT ")
    assert b"2001:db8::7" in heard[0]


def test_the_client_reads_the_environment_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        Client(HOST)
