"""What may be reached: one decision of two halves, the operator's settings and the pipeline's permissions."""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], list[IP]]
"""The addresses of a name, by whatever names lead to them; raises Refused where it has none."""

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.ASCII)
_NUMBER_LIKE = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", re.ASCII)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ALSO_NOT_PUBLIC = tuple(map(ipaddress.ip_network, (
    "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20", "5f00::/16", "fec0::/10",
)))  # fmt: skip
"""Global by the tables of some Pythons, and no part of the internet: special blocks, in which clouds have
their metadata, the address of a cloud's own agent, documentation, segment routing, and sites of old."""
_PORTS = {"http": 80, "https": 443}

_LOOKS_LIKE_NO_NETWORK = re.compile(
    r"could not resolve|couldn't resolve|name resolution|name or service not known|network is unreachable"
    r"|getaddrinfo|enotfound|eai_again|enetunreach|no route to host|no address associated|unable to resolve"
    r"|unknown host|unknownhostexception|failed to resolve|nodename nor servname|no such host"
    r"|no matching distribution found",
    re.IGNORECASE,
)

_LOOKS_LIKE_NOBODY_THERE = re.compile(r"connection refused|econnrefused", re.IGNORECASE)


class Refused(Exception):
    """An address may not be reached; the message says which, why, and what would grant it."""


@dataclass(frozen=True, slots=True)
class ReachPolicy:
    """The operator's half: `RIVET_ALLOW_NETWORK`, `RIVET_ALLOW_HOSTS`, `RIVET_ALLOW_PATHS`.

    `allow_hosts` has names, names with a port, `*.` before a name, addresses and networks. `look_up` is asked
    once a connection.
    """

    allow_network: str = "public"
    allow_hosts: tuple[str, ...] = ()
    allow_paths: tuple[str, ...] = ()
    look_up: LookUp = field(default_factory=lambda: look_up, compare=False, repr=False)

    def names(self, host: str, port: int) -> bool:
        """Whether the operator has named this host, so that whatever address it has is allowed."""
        return is_named(self.allow_hosts, host, port)

    def allows(self, address: IP, port: int) -> bool:
        """Whether the operator allows this address, by being public or by being named."""
        if self.allow_network == "public" and is_public(address):
            return True
        return any(_covers(entry, address, port) for entry in self.allow_hosts)


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """What one room may reach of what `reach` allows: `everything`, or only `hosts`, or one `url`.

    `hosts` are `host:port`, or a host for all its ports. With `url` whatever lies below its path is meant.
    """

    reach: ReachPolicy
    everything: bool = False
    hosts: tuple[str, ...] = ()
    url: str | None = None

    def addresses(self, host: str, port: int) -> list[IP]:
        """The addresses to connect to, resolved once; the caller uses these and asks no resolver again.

        Raises Refused.
        """
        host = host.lower().rstrip(".").strip("[]")
        self._check_granted(host, port)
        return resolve(self.reach, host, port)

    def doors(self) -> list[tuple[str, int]]:
        """Hosts with a port that were granted by name, which a room gets listeners of its own for."""
        entries = self.reach.allow_hosts if self.everything else self.hosts
        split = [_split(entry) for entry in entries]
        return [(host, port) for host, port in split if port is not None and not set(host) & set("*/")]

    def check_tunnel(self) -> None:
        """Raises Refused where a tunnel would hide which part of the one URL's host is asked for."""
        if self.url is not None and urlsplit(self.url).scheme != "https":
            raise Refused(f"only {self.url} may be reached here, and through no tunnel")

    def check_path(self, path: str) -> None:
        """Raises Refused where a request's path is not below the one URL."""
        if self.url is None:
            return
        below = urlsplit(self.url).path.rstrip("/")
        plain = unquote(path)
        if ".." in plain.split("/") or not (plain == below or plain.startswith(below + "/")):
            raise Refused(f"only {self.url} may be reached here, and {path} is not part of it")

    def _check_granted(self, host: str, port: int) -> None:
        if self.url is not None:
            if (host, port) != host_and_port(self.url):
                raise Refused(f"{host}:{port} may not be reached here: only {self.url} may")
        elif not self.everything and not is_named(self.hosts, host, port):
            raise Refused(
                f'{host}:{port} is not granted to this pipeline: add "{host}:{port}" to its '
                f"permissions = {{ network = {{ … }} }}"
            )


def resolve(policy: ReachPolicy, host: str, port: int) -> list[IP]:
    """Addresses of a host that the operator allows. Waits as long as the resolver does; raises Refused."""
    if not 1 <= port <= 65535:
        raise Refused(f"{host}:{port} has a port that there is not")
    literal = _literal(host)
    if literal is None and not _NAME.fullmatch(host):
        raise Refused(f'"{host[:100]}" is no name of a host')
    if literal is not None:
        found: Sequence[IP] = [literal]
    else:
        found = policy.look_up(host, port)
    if policy.names(host, port):
        return list(found)
    allowed = [address for address in found if policy.allows(address, port)]
    if allowed:
        return allowed
    what = f"{host}:{port}" if literal is not None else f"{host}:{port} ({found[0]})"
    if all(is_public(address) for address in found):
        raise Refused(
            f"{what} may not be reached: this runner allows no public addresses (RIVET_ALLOW_NETWORK=none). "
            f"Ask its operator to add {host}:{port} to RIVET_ALLOW_HOSTS"
        )
    raise Refused(
        f"{what} is {_kind(found[0])} address, which this runner does not allow. "
        f"Ask its operator to add {host}:{port} to RIVET_ALLOW_HOSTS"
    )


def is_named(entries: Sequence[str], host: str, port: int) -> bool:
    """Whether one of `entries` (a host or `*.host`, with a port or for all of them) means this host."""
    return any(_names(entry, host, port) for entry in entries)


def is_public(address: IP) -> bool:
    """Whether an address belongs to the internet at large; what an address embeds counts as well."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
    if any(address in network for network in _ALSO_NOT_PUBLIC):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    )


def host_and_port(url: str) -> tuple[str, int]:
    """Whom a URL of http or https means. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url} is no http or https URL")
    return parts.hostname.lower().rstrip("."), parts.port or _PORTS[parts.scheme]


def network_hint(tail: Sequence[str], *, has_network: bool) -> str:
    """A sentence for the error of a command that seems to have missed the network, else nothing."""
    if not has_network and any(_LOOKS_LIKE_NO_NETWORK.search(line) for line in tail):
        return "This stage has no network: grant it with permissions = { network = true } in the pipeline"
    if any(_LOOKS_LIKE_NOBODY_THERE.search(line) for line in tail):
        return (
            "Within a stage localhost is the stage's own: a server outside of it is reached where "
            'permissions = { network = { "host:port" } } in the pipeline grants it'
        )
    return ""


def _literal(host: str) -> IP | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    # What is not a plain address but would be read as one by the system (2130706433, 0x7f.1, 0177.0.0.1).
    if _NUMBER_LIKE.fullmatch(host):
        raise Refused(f'"{host[:100]}" is an address in an odd spelling: write it as 127.0.0.1 is written')
    return None


def look_up(host: str, port: int) -> list[IP]:
    """As the runner's own system resolves it. Raises Refused."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host} could not be resolved: {error}") from error
    # A scope (fe80::1%eth0) is dropped: such an address is refused anyway.
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _names(entry: str, host: str, port: int) -> bool:
    name, wanted = _split(entry)
    if wanted is not None and wanted != port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return name == host


def _covers(entry: str, address: IP, port: int) -> bool:
    name, wanted = _split(entry)
    if wanted is not None and wanted != port:
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return address in network


def _split(entry: str) -> tuple[str, int | None]:
    """A name, address or network, and the port that may stand behind it."""
    entry = entry.strip().lower()
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::(\d{1,5}))?", entry)
    if bracketed:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name.rstrip("."), int(port) if port.isdigit() else -1
    return entry.rstrip("."), None


def _kind(address: IP) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    for kind in ("loopback", "link_local", "multicast", "unspecified", "private", "reserved"):
        if getattr(address, f"is_{kind}"):
            return f"a{'n' if kind == 'unspecified' else ''} {kind.replace('_', '-')}"
    return "no public"
