"""Where requests may go: public addresses by https, opened networks, nothing else, whatever a name says."""

from ipaddress import ip_address

import pytest

from kanwa_shared.security.outbound import TargetPolicy, TargetRefused, check_url

PUBLIC_ONLY = TargetPolicy()
OPENED = TargetPolicy.of("10.20.0.0/16 127.0.0.0/8")


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",  # noqa: S104  # not bound to
     "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
     "::ffff:127.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1",
     "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "64:ff9b:1::808:808",
     "2002:a00:1::", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001::53aa:64c:0:0", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
     "fec0::1", "feff::1", "2001:db8::1", "100::1", "4000::1", "5f00::1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not PUBLIC_ONLY.allows(ip_address(address), "https")


@pytest.mark.parametrize("address", [
     "8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
])  # fmt: skip
def test_a_public_address_is_reached_by_https_alone(address: str) -> None:
    assert PUBLIC_ONLY.allows(ip_address(address), "https")
    assert not PUBLIC_ONLY.allows(ip_address(address), "http")
    assert not OPENED.allows(ip_address(address), "http")


def test_an_opened_network_is_reached_by_both() -> None:
    for scheme in ("https", "http"):
        assert OPENED.allows(ip_address("10.20.1.1"), scheme)
        assert OPENED.allows(ip_address("::ffff:10.20.1.1"), scheme)
        assert not OPENED.allows(ip_address("10.21.1.1"), scheme)
        assert TargetPolicy.of("fec0::/10").allows(ip_address("fec0::1"), scheme)


@pytest.mark.parametrize(
    "url",
    ["http://hospital.example/", "https://10.0.0.5/", "https://[::1]/", "https://[::ffff:10.0.0.5]/", "ftp://x/",
     "https://169.254.169.254/latest/meta-data"],
)  # fmt: skip
def test_what_a_url_shows_is_refused_at_once(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_url(url, PUBLIC_ONLY)


@pytest.mark.parametrize("url", ["https://hospital.example/", "https://8.8.8.8/", "https://localhost/"])
def test_a_name_is_judged_when_it_is_connected_to(url: str) -> None:
    check_url(url, PUBLIC_ONLY)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="network"):
        TargetPolicy.of("10.0.0.0/8 hospital")
