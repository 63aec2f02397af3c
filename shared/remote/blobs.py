"""The blob port on S3 and whatever speaks its protocol, with conditional puts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import aioboto3
import aiohttp
import structlog
from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from shared.blobs import Blob, BlobInfo, checked_key, checked_prefix
from shared.errors import BlobNotFound, ConfigurationError, PreconditionFailed, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

log = structlog.get_logger(__name__)

CONNECT_S = 2.0  # per attempt
READ_S = 20.0  # per attempt, between two packets
ATTEMPTS = 3  # of one request, the client's own pauses between them
CHECK_S = 5.0  # for `check`, attempts included
CONFLICTS = 5  # times that a put which met another one in progress is tried before it counts as second
CONNECTIONS = 50
_FULL_CODES = {"QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "507"}
_MISSING_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)


class _Condition(TypedDict):
    IfNoneMatch: NotRequired[str]
    IfMatch: NotRequired[str]


class S3Blobs:
    """Blobs in a bucket, below a prefix. One client for the process, opened with the first request.

    The bucket is created if it is missing. Region and credentials come from the environment, as for any AWS client.
    """

    def __init__(self, bucket: str, *, prefix: str = "", endpoint_url: str | None = None) -> None:
        """`endpoint_url`: of an S3-compatible store; absent: Amazon's."""
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint_url = endpoint_url
        self._lock = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._opened: S3Client | None = None

    async def get(self, key: str) -> Blob:
        """Read an object. Raises BlobNotFound, StoreUnavailable."""
        with _translated(f"read {key}"):
            try:
                client = await self._client()
                answer = await client.get_object(Bucket=self._bucket, Key=self._path(key))
                async with answer["Body"] as body:
                    data = await body.read()
            except ClientError as error:
                if _status(error) != 404:
                    raise
                raise BlobNotFound(f"The store has no object '{key}'.") from None
        return Blob(data, _plain(answer["ETag"]))

    async def head(self, key: str) -> BlobInfo | None:
        """Return size and ETag, or None."""
        with _translated(f"read {key}"):
            try:
                client = await self._client()
                answer = await client.head_object(Bucket=self._bucket, Key=self._path(key))
            except ClientError as error:
                if _status(error) != 404:
                    raise
                return None
        return BlobInfo(key, answer["ContentLength"], _plain(answer["ETag"]))

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write an object in one request: readers see all of it or nothing. Raises PreconditionFailed."""
        condition: _Condition = {}
        if if_absent:
            condition = {"IfNoneMatch": "*"}
        elif if_match is not None:
            condition = {"IfMatch": f'"{if_match}"'}
        with _translated(f"write {key}"):
            for attempt in range(CONFLICTS):
                try:
                    return await self._put(key, data, content_type, condition)
                except ClientError as error:
                    code, status = _code(error), _status(error)
                    if code == "NoSuchBucket":
                        await self._create_bucket()
                    elif status == 412 or (status == 404 and condition):
                        if await self._is_ours(error, key, data):
                            return _md5(data)
                        raise _changed(key) from None
                    elif status == 409 and condition:  # another conditional put of the key is in progress
                        await asyncio.sleep(0.05 * 2**attempt)
                    else:
                        raise
        raise _changed(key)

    async def delete(self, key: str) -> None:
        """Remove the object."""
        with _translated(f"delete {key}"):
            try:
                client = await self._client()
                await client.delete_object(Bucket=self._bucket, Key=self._path(key))
            except ClientError as error:
                if _status(error) != 404:
                    raise

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every object whose key starts with `prefix`, a page at a time."""
        path = self._prefix + checked_prefix(prefix)
        with _translated(f"list {prefix}"):
            try:
                client = await self._client()
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=path)
                async for page in pages:
                    for found in page.get("Contents", ()):
                        yield BlobInfo(found["Key"].removeprefix(self._prefix), found["Size"], _plain(found["ETag"]))
            except ClientError as error:
                if _code(error) != "NoSuchBucket":
                    raise

    async def check(self) -> None:
        """Raise StoreUnavailable unless the bucket can be reached; creates it if it is missing."""
        with _translated("reach the bucket"):
            async with asyncio.timeout(CHECK_S):
                try:
                    client = await self._client()
                    await client.head_bucket(Bucket=self._bucket)
                except ClientError as error:
                    if _status(error) != 404:
                        raise
                    await self._create_bucket()

    async def close(self) -> None:
        """Close the client's connections."""
        async with self._lock:
            self._opened = None
            await self._stack.aclose()

    async def _client(self) -> S3Client:
        async with self._lock:
            if self._opened is None:
                self._opened = await self._stack.enter_async_context(
                    aioboto3.Session().client("s3", endpoint_url=self._endpoint_url, config=self._config())
                )
            return self._opened

    def _config(self) -> AioConfig:
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            "max_pool_connections": CONNECTIONS,
        }
        if self._endpoint_url is not None:
            options |= {
                "s3": {"addressing_style": "path"},  # such stores have no host name per bucket
                # Trailing checksums are Amazon's; not every compatible store understands them.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        return AioConfig(**options)

    def _path(self, key: str) -> str:
        return self._prefix + checked_key(key)

    async def _put(self, key: str, data: bytes, content_type: str, condition: _Condition) -> str:
        client = await self._client()
        answer = await client.put_object(
            Bucket=self._bucket, Key=self._path(key), Body=data, ContentType=content_type, **condition
        )
        return _plain(answer["ETag"])

    async def _is_ours(self, error: ClientError, key: str, data: bytes) -> bool:
        """Whether a refused put met its own first attempt, whose answer was lost on the way."""
        if not error.response["ResponseMetadata"].get("RetryAttempts"):
            return False
        info = await self.head(key)
        return info is not None and info.etag == _md5(data)

    async def _create_bucket(self) -> None:
        client = await self._client()
        region = client.meta.region_name
        try:
            if region in (None, "us-east-1", "aws-global"):  # the one region that must not be named
                await client.create_bucket(Bucket=self._bucket)
            else:
                await client.create_bucket(
                    Bucket=self._bucket,
                    CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]
                )
        except ClientError as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        else:
            log.info("bucket_created", bucket=self._bucket)


@contextlib.contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except ClientError as error:
        message = f"The object store refused to {action}: {_code(error)} (HTTP {_status(error)})."
        if _status(error) == 507 or _code(error) in _FULL_CODES:
            raise StoreFull(message, advice="Free space; work goes on by itself.") from error
        if _status(error) in (401, 403):
            raise StoreUnavailable(message, advice="Check the store's credentials and the bucket's policy.") from error
        raise StoreUnavailable(message, advice="Check that the object store is up.") from error
    except _MISSING_CREDENTIALS as error:
        raise ConfigurationError(
            f"The object store needs credentials: {error}.", advice="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from error
    except (BotoCoreError, HTTPClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise StoreUnavailable(
            f"Could not {action}: the object store does not answer ({type(error).__name__}).",
            advice="Check EVENSKIN_S3_ENDPOINT_URL and that the object store is up.",
        ) from error


def _changed(key: str) -> PreconditionFailed:
    return PreconditionFailed(f"The store has another object '{key}' than the put expected.")


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _plain(etag: str) -> str:
    return etag.strip('"')


def _md5(data: bytes) -> str:
    """The ETag of an object that was put in one request, as S3 computes it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
