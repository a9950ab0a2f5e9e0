"""What went wrong, as one sentence for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import httpx

from tunesmith.platform.domain.errors import TunesmithError

_NOT_BELIEVED: Final = "CERTIFICATE_VERIFY_FAILED"  # OpenSSL's word, which httpx passes on as text


class CommandFailed(Exception):
    """A command cannot do what it was asked for; its message is printed, without a traceback.

    Attributes:
        exit_code: what the process ends with.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def one_sentence(url: str) -> Iterator[None]:
    """Turn what the clients raise into `CommandFailed`.

    Args:
        url: where the platform was looked for.
    """
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise CommandFailed(_message(error.response, url)) from error
    except httpx.HTTPStatusError as error:
        raise CommandFailed(_message(error.response, url)) from error
    except (openai.APITimeoutError, httpx.TimeoutException) as error:
        raise CommandFailed(f"The platform at {url} did not answer in time.") from error
    except (openai.APIConnectionError, httpx.TransportError) as error:
        if _NOT_BELIEVED in (cause := _cause(error)):
            raise CommandFailed(
                f"The certificate of {url} is not believed ({cause}). Ask by a name that is in it,"
                " and name the file of its authority in SSL_CERT_FILE."
            ) from error
        raise CommandFailed(
            f"No platform answers at {url} ({cause}). Start one with `tunesmith up`, or"
            " say where it is with --url or TUNESMITH_URL."
        ) from error
    except openai.APIError as error:  # in the middle of a stream
        raise CommandFailed(error.message) from error
    except TunesmithError as error:
        raise CommandFailed(error.message) from error


class _Answer(Protocol):
    """An HTTP response. The official client has its own class for it, which is not httpx's."""

    @property
    def status_code(self) -> int: ...
    @property
    def reason_phrase(self) -> str: ...
    def json(self) -> Any: ...


def _message(response: _Answer, url: str) -> str:
    """The message of an OpenAI error body, or what there is instead."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"{url} answered {response.status_code} {response.reason_phrase}; is it a Tunesmith?"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        said = str(message).rstrip(".")
        return (
            f"{said}. Give a valid key with --api-key or TUNESMITH_API_KEY; for tenants and keys"
            " with --admin-key or TUNESMITH_ADMIN_KEY."
        )
    return str(message)


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().rstrip(".") or type(cause).__name__
