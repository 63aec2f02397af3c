"""Pictures that an answer only points to: fetched from the hosts that are allowed, and from nowhere else.

An answer's URL is a stranger's: it could name the cloud's metadata service or a neighbour in the private network. So
its host must be named, it must have a public address unless the provider itself has a private one, and the connection
is made to the address that was looked at (a name could have another one a moment later). Our key is not sent along.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence

import httpx2

from shared.errors import ProviderError
from shared.imaging import MAX_BYTES

ANSWER_BYTES = MAX_BYTES * 4 // 3 + 2**20  # a picture in base64, and what is said about it
REDIRECTS = 3  # each to an allowed host
TRIES = 3  # of a picture that is paid for
WAIT_S = 1.0  # seconds between them


class NotFetched(ProviderError):
    """The picture at a URL cannot be had."""


class PictureUrls:
    """Fetches pictures. `hosts`: names, with or without a port, beside the provider's own, `base`."""

    def __init__(self, client: httpx2.AsyncClient, base: httpx2.URL, hosts: Sequence[str] = ()) -> None:
        self._client = client
        self._base = base
        self._hosts = {host.strip().casefold() for host in hosts if host.strip()}

    async def fetch(self, text: str) -> bytes:
        """The bytes at a URL, MAX_BYTES at most. Raises NotFetched; the time is the caller's to limit."""
        url = self._url(text)
        for _ in range(REDIRECTS + 1):
            response = await self._answer(url)
            if not response.has_redirect_location:
                break
            url = self._url(response.headers["location"], url)
        if response.status_code != httpx2.codes.OK:
            raise NotFetched(f"{url.host} answers {response.status_code} for the picture.")
        if len(response.content) > MAX_BYTES:
            raise NotFetched(f"The picture at {url.host} has more than {MAX_BYTES:,} bytes.")
        return response.content

    def _url(self, text: str, base: httpx2.URL | None = None) -> httpx2.URL:
        """An address that may be asked. A path alone is the provider's own, or that of whoever redirects."""
        try:
            url = (base or self._base).join(text.strip())
        except httpx2.InvalidURL as error:
            raise NotFetched(f"The picture's URL is none: {error}") from error
        is_safe = url.scheme == "https" or (url.scheme == "http" and self._base.scheme == "http")
        if not is_safe or not url.host:
            raise NotFetched(f"A picture is not fetched by {url.scheme or 'nothing'}.")
        host = url.host.casefold()
        if not self._is_own(url) and not self._hosts & {host, f"{host}:{_port(url)}"}:
            raise NotFetched(
                f"The picture is at {host}:{_port(url)}, which is not allowed. Name it in EVENSKIN_IMAGE_HOSTS, "
                "or have the server answer with b64_json."
            )
        return url

    def _is_own(self, url: httpx2.URL) -> bool:
        return (url.host.casefold(), _port(url)) == (self._base.host.casefold(), _port(self._base))

    async def _answer(self, url: httpx2.URL) -> httpx2.Response:
        # Encoded, a few bytes could become many.
        headers, extensions, asked = {"Accept-Encoding": "identity"}, {}, url
        if not self._is_own(url):
            address = await self._address_of(url)
            headers["Host"] = url.netloc.decode()
            extensions["sni_hostname"] = url.host
            asked = url.copy_with(host=address)
        for left in reversed(range(TRIES)):
            request = self._client.build_request("GET", asked, headers=headers, extensions=extensions)
            try:
                response = await self._client.send(request, follow_redirects=False)
            except httpx2.HTTPError as error:
                if not left or isinstance(error, TooLarge):
                    raise NotFetched(f"The picture at {url.host} cannot be fetched: {error or 'no answer'}.") from error
            else:
                if "content-encoding" in response.headers:
                    raise NotFetched(f"{url.host} encodes the picture, which was not asked for.")
                if response.status_code < 500 or not left:
                    return response
            await asyncio.sleep(WAIT_S)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _address_of(self, url: httpx2.URL) -> str:
        """An address of a URL's host. Raises NotFetched where it is a private one, and the provider's is not."""
        addresses = await _addresses(url.host, _port(url))
        if not all(map(_is_public, addresses)) and all(
            map(_is_public, await _addresses(self._base.host, _port(self._base)))
        ):
            raise NotFetched(f"The picture's host {url.host} has a private address.")
        return addresses[0]


class TooLarge(httpx2.ReadError):
    """An answer is larger than one with a picture may be."""


async def bound(response: httpx2.Response) -> None:
    """Have an answer's reading end at ANSWER_BYTES: a hook for a client. Reading raises TooLarge then."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream, ANSWER_BYTES)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._stream:
            read += len(part)
            if read > self._limit:
                raise TooLarge(f"more than {self._limit:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _addresses(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotFetched(f"{host} has no address: {error}.") from error
    return [str(entry[4][0]) for entry in found]


def _is_public(address: str) -> bool:
    """Whether an address is on the internet; one of IPv4 in IPv6's clothes is what it is underneath."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global
