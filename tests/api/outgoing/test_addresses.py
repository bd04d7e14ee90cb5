"""Addresses that may be connected to, and URLs that are refused by what they say themselves."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from api.outgoing.addresses import may_be_reached, may_be_reached_by, refuse_url

SETTING = "DOD_SOME_NETWORKS"
LOOPBACK, TEN = (ip_network("127.0.0.0/8"),), (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 -- an address, nothing is bound
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("fec0::1", False),
        ("5f00::1", False),
        # Public by the tables of some Pythons: metadata of Oracle Cloud, Azure's host, a relay, examples.
        ("192.0.0.192", False),
        ("168.63.129.16", False),
        ("192.88.99.1", False),
        ("64:ff9b::a83f:8110", False),
        ("3fff::1", False),
        ("64:ff9b::5db8:d822", True),
        ("no address", False),
    ],
)
def test_which_addresses_may_be_reached(address: str, *, reached: bool) -> None:
    assert may_be_reached(address, ()) is reached


@pytest.mark.parametrize(
    ("scheme", "address", "allowed", "reached"),
    [
        ("https", "93.184.216.34", (), True),
        ("https", "10.1.2.3", TEN, True),
        ("http", "93.184.216.34", TEN, False),
        ("http", "10.1.2.3", TEN, True),
        ("http", "::ffff:10.1.2.3", TEN, True),
        ("http", "no address", TEN, False),
    ],
)
def test_http_reaches_networks_of_the_setting_alone(
    scheme: str, address: str, allowed: Any, *, reached: bool
) -> None:
    assert may_be_reached_by(scheme, address, allowed) is reached


@pytest.mark.parametrize(
    ("url", "allowed", "rule"),
    [
        ("https://app.example/hook?a=b", (), None),
        ("https://93.184.216.34/hook", (), None),
        ("https://[2606:2800:220:1::1]/hook", (), None),
        ("https://1.example/hook", (), None),
        ("https://intranet/hook", (), None),
        ("http://10.0.0.1/hook", TEN, None),
        ("http://app.example/hook", TEN, None),
        ("http://localhost:8080/hook", LOOPBACK, None),
        ("http://127.0.0.1/hook", LOOPBACK, None),
        ("https://[::ffff:127.0.0.1]/hook", LOOPBACK, None),
        ("", (), "host/path"),
        ("https:///hook", (), "host/path"),
        ("https://./hook", (), "host/path"),
        ("ftp://app.example/hook", (), "host/path"),
        ("https://app.example/" + "x" * 2_000, (), "2000 characters"),
        ("https://[::1]./hook", (), "no URL"),
        ("https://user@app.example/hook", (), "no user"),
        ("https://app.example/hook#part", (), "no user"),
        ("http://app.example/hook", (), "begins with `https://`"),
        ("http://93.184.216.34/hook", TEN, f"outside the networks of `{SETTING}`"),
        ("https://127.0.0.1/hook", (), SETTING),
        ("https://127.0.0.1./hook", (), SETTING),
        ("https://[fe80::1%25eth0]/hook", (), SETTING),
        ("https://10.0.0.1/hook", LOOPBACK, SETTING),
        # Names of this machine, however they are written.
        ("https://localhost/hook", (), SETTING),
        ("https://LOCALHOST./hook", (), SETTING),
        ("https://app.localhost/hook", TEN, SETTING),
        ("https://ⓛocalhost/hook", (), SETTING),
        # IPv4 addresses as resolvers read them: one number, octal, hexadecimal, short.
        ("https://2130706433/hook", (), "four decimal numbers"),
        ("https://0x7f000001/hook", (), "four decimal numbers"),
        ("https://0X7F.1/hook", (), "four decimal numbers"),
        ("https://0177.0.0.1/hook", (), "four decimal numbers"),
        ("https://017700000001/hook", (), "four decimal numbers"),
        ("https://127.1/hook", (), "four decimal numbers"),
        ("https://127.0.1./hook", (), "four decimal numbers"),
        ("https://256.1.1.1/hook", (), "four decimal numbers"),
        ("https://1.2.3.4.5/hook", (), "four decimal numbers"),
        ("https://%31%32%37.0.0.1/hook", (), "four decimal numbers"),
        ("http://127.1/hook", LOOPBACK, "four decimal numbers"),
        ("https://[::ffff:0x7f.1]/hook", (), "names its host plainly"),
        # The dots and digits of other scripts are those of addresses, too.
        ("https://127\u30020\uff610\uff0e1/hook", (), SETTING),
        ("https://\uff11\uff12\uff17.0.0.1/hook", (), SETTING),
        ("https://localhost\u3002/hook", (), SETTING),
        ("https://app\u3002example/hook", (), None),
        ("https://[64:ff9b::a9fe:a9fe]/hook", (), SETTING),
        ("https://[2002:a9fe:a9fe::]/hook", (), SETTING),
        ("https://0/hook", (), "four decimal numbers"),
        ("https://app.example:443@127.0.0.1/hook", (), "no user"),
        ("https://a\\@127.0.0.1/hook", (), "no URL"),
        ("https://192.0.0.192/opc/v1/", (), SETTING),
        ("https://192.0.0.192/opc/v1/", (ip_network("192.0.0.0/24"),), None),
        # What never leads anywhere is refused when it is registered, not when it is asked.
        ("https://xn--/hook", (), "no URL"),
        ("https://app example/hook", (), "host/path"),
        ("https://app\texample/hook", (), "host/path"),
        ("https://app.example/hook\r\nx: y", (), "host/path"),
        ("https://app..example/hook", (), "names its host plainly"),
        ("https://-app.example/hook", (), "names its host plainly"),
        ("https://app%00.example/hook", (), "names its host plainly"),
        (f"https://{'a' * 64}.example/hook", (), "names its host plainly"),
        ("https://\u00fcber.example/hook", (), None),
        ("https://under_score.example./hook", (), None),
    ],
)
def test_urls_are_refused_by_what_they_say(url: str, allowed: Any, rule: str | None) -> None:
    if rule is None:
        refuse_url(url, allowed, setting=SETTING)
        return
    with pytest.raises(ValueError, match=rule):
        refuse_url(url, allowed, setting=SETTING)
