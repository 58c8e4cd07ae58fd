"""Which addresses may be reached, by whose leave, and what a refusal says."""

import ipaddress

import pytest

from rivet.runner.reach import (
    ProxyRules,
    ReachPolicy,
    Refused,
    host_and_port,
    is_public,
    network_hint,
    resolve,
)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1",
        "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::127.0.0.1", "64:ff9b:1::7f00:1", "192.0.0.192", "168.63.129.16", "100.100.100.200", "fec0::1",
        "fe80::1%eth0", "::1%lo", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_of_a_machine_or_a_house_are_not(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0x7f000001", "127.0.0.01", "0"]
)
def test_odd_spellings_are_refused_even_where_the_address_is_allowed(host):
    with pytest.raises(Refused, match="odd spelling"):
        resolve(ReachPolicy(allow_hosts=("127.0.0.0/8",)), host, 80)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "-a", "a..b", "ü.example", "x" * 300, "a\r\nb", "[::1"])
def test_what_is_no_name_is_refused(host):
    with pytest.raises(Refused):
        resolve(ReachPolicy(), host, 80)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 80),
        ("127.0.0.1:3000", "127.0.0.1", 3000),
        ("10.0.0.0/8", "10.1.2.3", 80),
        ("::1", "::1", 80),
        ("[::1]:3000", "::1", 3000),
        ("fd00::/8", "fd00::5", 1),
        ("localhost:3000", "localhost", 3000),
        ("127.0.0.0/8", "localhost", 3000),
    ],
)
def test_the_operator_allows_by_name_port_address_or_network(entry, host, port):
    assert resolve(ReachPolicy("none", (entry,)), host, port)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("127.0.0.1:3000", "127.0.0.1", 3001),
        ("10.0.0.0/8", "11.0.0.1", 80),
        ("localhost:x", "localhost", 80),
        ("example.org", "127.0.0.1", 80),
        ("*.corp.example", "127.0.0.1", 80),
    ],
)
def test_what_no_entry_names_stays_refused(entry, host, port):
    with pytest.raises(Refused, match="RIVET_ALLOW_HOSTS"):
        resolve(ReachPolicy("none", (entry,)), host, port)


def test_a_star_stands_for_names_below_and_not_for_the_name_itself():
    policy = ReachPolicy(allow_hosts=("*.corp.example",))
    assert policy.names("git.corp.example", 443)
    assert policy.names("a.b.corp.example", 443)
    assert not policy.names("corp.example", 443)
    assert not policy.names("evilcorp.example", 443)


def test_public_addresses_can_be_switched_off():
    assert resolve(ReachPolicy(), "1.1.1.1", 443)
    with pytest.raises(Refused, match="RIVET_ALLOW_NETWORK=none"):
        resolve(ReachPolicy("none"), "1.1.1.1", 443)


def test_the_pipelines_half_counts_as_well():
    rules = ProxyRules(ReachPolicy(), hosts=("1.1.1.1:443", "*.example.org"))
    assert rules.addresses("1.1.1.1", 443)
    with pytest.raises(Refused, match=r"permissions = \{ network"):
        rules.addresses("1.1.1.1", 80)
    with pytest.raises(Refused, match=r"permissions = \{ network"):
        ProxyRules(ReachPolicy()).addresses("8.8.8.8", 443)
    assert ProxyRules(ReachPolicy(), everything=True).addresses("8.8.8.8", 443)


def test_what_the_pipeline_grants_the_operator_may_still_refuse():
    with pytest.raises(Refused, match="is a private address, which this runner does not allow"):
        ProxyRules(ReachPolicy(), hosts=("10.0.0.5:80",)).addresses("10.0.0.5", 80)


def test_one_url_means_its_host_and_port():
    rules = ProxyRules(ReachPolicy(), url="https://1.1.1.1/a.git")
    assert rules.addresses("1.1.1.1", 443)
    for host, port in (("1.1.1.1", 80), ("8.8.8.8", 443)):
        with pytest.raises(Refused, match="only https"):
            rules.addresses(host, port)


def test_doors_are_granted_hosts_with_a_port():
    policy = ReachPolicy(allow_hosts=("127.0.0.1:3000", "db.corp.example:5432", "10.0.0.0/8", "x", "*.y:1"))
    assert ProxyRules(policy, everything=True).doors() == [("127.0.0.1", 3000), ("db.corp.example", 5432)]
    assert ProxyRules(policy, hosts=("db.corp.example:5432",)).doors() == [("db.corp.example", 5432)]


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://Example.org/x", ("example.org", 80)),
        ("https://example.org.", ("example.org", 443)),
        ("https://example.org:8443/", ("example.org", 8443)),
        ("http://[::1]:81/", ("::1", 81)),
    ],
)
def test_a_urls_host_and_port(url, meant):
    assert host_and_port(url) == meant


@pytest.mark.parametrize(
    "line",
    [
        "curl: (6) Could not resolve host: example.org",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "Error: getaddrinfo EAI_AGAIN registry.example.org",
        "connect: Network is unreachable",
        "dial tcp: lookup example.org: no such host",
    ],
)
def test_messages_of_a_missing_network_are_known(line):
    assert "permissions" in network_hint(["something", line], has_network=False)
    assert not network_hint([line], has_network=True)


def test_who_finds_nobody_at_localhost_is_told_whose_that_is():
    for has_network in (True, False):
        told = network_hint(["Error: connect ECONNREFUSED 127.0.0.1:5432"], has_network=has_network)
        assert 'permissions = { network = { "host:port" } }' in told


def test_other_messages_get_no_hint():
    assert not network_hint(["E   assert 1 == 2", "1 failed"], has_network=False)
