"""Object storage: files and adapters in a folder, on S3 or on Google Cloud Storage."""

from .errors import (
    CorruptAdapter,
    InvalidKey,
    ObjectNotFound,
    StorageFull,
    StorageMisconfigured,
    StorageUnavailable,
)
from .storage import ObjectWriter, Storage

__all__ = [
    "CorruptAdapter",
    "InvalidKey",
    "ObjectNotFound",
    "ObjectWriter",
    "Storage",
    "StorageFull",
    "StorageMisconfigured",
    "StorageUnavailable",
]
