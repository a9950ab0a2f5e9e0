"""What can go wrong with stored objects."""

from __future__ import annotations

from http import HTTPStatus

from tunesmith.platform.domain.errors import InvalidRequest, TunesmithError, Unavailable


class ObjectNotFound(TunesmithError):
    """Storage holds no object under this key.

    Not a 404: keys come from the database, so a missing object is the platform's own loss.
    """

    default_code = "object_not_found"


class InvalidKey(InvalidRequest):
    """The key could leave its place in storage, or is not one that every storage can hold."""

    default_code = "invalid_key"


class StorageFull(TunesmithError):
    """No space, or no quota, is left (507)."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    default_code = "storage_full"


class StorageUnavailable(Unavailable):
    """Storage does not answer, fails, or refuses access (503)."""

    default_code = "storage_unavailable"


class StorageMisconfigured(TunesmithError):
    """The storage URL cannot be used as it is written."""

    default_code = "storage_misconfigured"


class CorruptAdapter(TunesmithError):
    """An adapter's files do not add up to the digest that names them."""

    default_code = "corrupt_adapter"
