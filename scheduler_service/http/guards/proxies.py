"""Client addresses behind trusted proxies."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxies:
    """WSGI middleware that applies X-Forwarded-For and X-Forwarded-Proto of trusted proxies.

    Only the last entry of X-Forwarded-For counts, which the proxy itself has added.
    """

    def __init__(self, app: "WSGIApplication", networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1)
        self._networks = networks
        self._is_proxy = lru_cache(maxsize=8_192)(self._is_in_networks)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        app = self._behind_proxy if self._is_proxy(environ["REMOTE_ADDR"]) else self._app
        return app(environ, start_response)

    def _is_in_networks(self, address: str) -> bool:
        return any(plain_address(address) in network for network in self._networks)


def plain_address(address: str) -> IPv4Address | IPv6Address:
    """The address without its zone; IPv4-mapped IPv6 addresses become IPv4.

    Raises:
        ValueError: it is not an address.
    """
    ip = ip_address(address.partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip
