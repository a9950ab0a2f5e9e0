"""The tables. Times are seconds since the epoch, as in OpenAI's API.

`seq` gives every list its order (newest last) and its pages a cursor; `id` is what clients see.
"""

from .base import Base
from .evaluations import Alias, AliasRevision, DataReport, Evaluation
from .files import File, Upload, UploadPart
from .messages import Heartbeat, Idempotency, Leader, WebhookDelivery, WebhookEndpoint
from .serving import Batch, Budget, StoredBytes, Usage, UsageBatch
from .tenants import ApiKey, Audit, Tenant
from .training import Adapter, BaseModel, Checkpoint, Job, JobEvent, Model, Permission

__all__ = [
    "Adapter",
    "Alias",
    "AliasRevision",
    "ApiKey",
    "Audit",
    "Base",
    "BaseModel",
    "Batch",
    "Budget",
    "Checkpoint",
    "DataReport",
    "Evaluation",
    "File",
    "Heartbeat",
    "Idempotency",
    "Job",
    "JobEvent",
    "Leader",
    "Model",
    "Permission",
    "StoredBytes",
    "Tenant",
    "Upload",
    "UploadPart",
    "Usage",
    "UsageBatch",
    "WebhookDelivery",
    "WebhookEndpoint",
]
