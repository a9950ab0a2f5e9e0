"""The trackers of the settings."""

from __future__ import annotations

from importlib.util import find_spec

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings
from tunesmith.workers.tracking.mlflow_tracker import MlflowTracker
from tunesmith.workers.tracking.tensorboard_tracker import TensorboardTracker
from tunesmith.workers.tracking.tracker import Tracker
from tunesmith.workers.tracking.wandb_tracker import WandbTracker

_LIBRARIES = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboardX"}


def chosen_trackers(settings: Settings) -> list[Tracker]:
    """A tracker for each name in the settings; their libraries are not loaded yet.

    Raises:
        InvalidRequest: a library is missing, or MLflow's address.
    """
    return [_tracker(name, settings) for name in dict.fromkeys(settings.trackers)]


def _tracker(name: str, settings: Settings) -> Tracker:
    library = _LIBRARIES[name]
    if find_spec(library) is None:
        raise InvalidRequest(
            f"TUNESMITH_TRACKERS names {name!r}, and its library {library} is not installed:"
            " pip install 'tunesmith[trackers]', or leave it out.",
            param="trackers",
        )
    if name == "wandb":
        return WandbTracker(settings.home)
    if name == "tensorboard":
        return TensorboardTracker(settings.tensorboard_directory or settings.home / "tensorboard")
    if not settings.mlflow_tracking_uri:
        raise InvalidRequest(
            "TUNESMITH_TRACKERS names 'mlflow': say where with TUNESMITH_MLFLOW_TRACKING_URI, for"
            " example http://mlflow:5000 or sqlite:////data/mlflow.db.",
            param="mlflow_tracking_uri",
        )
    return MlflowTracker(settings.mlflow_tracking_uri)
