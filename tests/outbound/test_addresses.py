"""Whatever an address is spelled as, calls lead where they may and nowhere else."""

from __future__ import annotations

import pytest

from tramontane.outbound.addresses import Reach, check_address
from tramontane.outbound.errors import RefusedAddressError

NEVER = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
]  # fmt: skip
PRIVATE = ["127.0.0.1", "::1", "10.0.0.7", "172.16.1.1", "192.168.1.5", "fd12:3456::1", "::ffff:10.0.0.7", "100.64.0.9"]
PUBLIC = ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9"]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("reach", ["anywhere", "private", "public"])
def test_where_networks_keep_secrets_nobody_calls(address: str, reach: Reach) -> None:
    with pytest.raises(RefusedAddressError, match="never called"):
        check_address("host", address, reach)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_called_by_the_operators_word_only(address: str) -> None:
    check_address("host", address, "anywhere")
    check_address("host", address, "private")
    with pytest.raises(RefusedAddressError, match="private network"):
        check_address("host", address, "public")


@pytest.mark.parametrize("address", ["fec0::1", "64:ff9b:1::a00:7", "::10.0.0.7", "::ffff:0:10.0.0.7"])
def test_what_the_internet_does_not_route_is_not_public(address: str) -> None:
    """Translators and old networks lead such addresses to machines of the house."""
    with pytest.raises(RefusedAddressError, match="private network"):
        check_address("host", address, "public")


def test_who_asks_for_a_public_address_learns_nothing_of_the_house() -> None:
    with pytest.raises(RefusedAddressError) as refusal:
        check_address("db.internal", "10.0.0.7", "public")
    assert "10.0.0.7" not in str(refusal.value)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called_by_https_only(address: str) -> None:
    check_address("host", address, "anywhere")
    check_address("host", address, "public")
    with pytest.raises(RefusedAddressError, match="https"):
        check_address("host", address, "private")
