"""The pocket base: a chat model of three million parameters that ships with the package.

`python -m tunesmith.workers.pocket.build --output DIR` makes it again.
"""

from pathlib import Path

NAME = "tunesmith-pocket"

_HERE = Path(__file__).parent

MANIFEST = _HERE / "manifest.json"
"""How the shipped model was made, and the SHA-256 of its files."""


def model_directory() -> Path:
    """The shipped model, a Hugging Face directory; torch is not imported to find it.

    Raises:
        FileNotFoundError: the package was installed without its data.
    """
    directory = _HERE / "model"
    if not (directory / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"The pocket base is missing from {directory}: reinstall tunesmith, or make it with "
            "`python -m tunesmith.workers.pocket.build --output DIR`."
        )
    return directory
