"""What may go wrong between here and the hub, in the user's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tramontane.errors import TramontaneError


@contextmanager
def in_sentences(repository: str, revision: str, endpoint: str) -> Iterator[None]:
    """Within this context every error of the library, of HTTP and of the disk becomes a TramontaneError."""
    try:
        yield
    except GatedRepoError as error:
        raise _gated(repository, endpoint) from error
    except RevisionNotFoundError as error:
        raise TramontaneError(
            f"{repository} has no revision {revision!r}; name a branch, a tag or a commit."
        ) from error
    except RepositoryNotFoundError as error:
        raise _not_found(repository, endpoint) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise _gated(repository, endpoint) from error
        if status == 404:
            raise _not_found(repository, endpoint) from error
        raise TramontaneError(
            f"{endpoint} answered with status {status}; run the command again later, it goes on where it stopped."
        ) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise TramontaneError(
            f"{endpoint} cannot be reached ({type(error).__name__}); check the network and HF_ENDPOINT, then run the "
            "command again: it goes on where it stopped."
        ) from error
    except OSError as error:  # after HfHubHTTPError, which is one
        raise TramontaneError(f"{repository} cannot be written to disk: {error}.") from error


def _gated(repository: str, endpoint: str) -> TramontaneError:
    return TramontaneError(
        f"{repository} is not open to everyone: accept its licence at {endpoint}/{repository}, set HF_TOKEN to a token "
        "of your account, and run the command again."
    )


def _not_found(repository: str, endpoint: str) -> TramontaneError:
    return TramontaneError(
        f"{endpoint} has no repository {repository}, or it is private: check the name, or set HF_TOKEN to a token that "
        "may read it."
    )
