"""`python -m tunesmith.gateway`: serve the gateway with the settings of the environment."""

from __future__ import annotations

from tunesmith.gateway.server import serve
from tunesmith.platform.settings import Settings

if __name__ == "__main__":
    serve(Settings())
