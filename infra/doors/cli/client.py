"""The HTTP API as the command line sees it: an address, a key, and errors in one line."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, TypeVar

import httpx
import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from configs.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    TeachbackError,
    UnauthorizedError,
)
from configs.settings import Settings
from infra.doors.cli.supervisor.addresses import admin_key_file, read_ports
from infra.doors.cli.supervisor.parts import api_address

UrlOption: TypeAlias = Annotated[
    str, typer.Option("--url", envvar="TEACHBACK_URL", help="Address of the API; default: this machine's `up`.")
]
KeyOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--key", envvar="TEACHBACK_API_KEY", help="API key; default: the home folder's own.", show_default=False
    ),
]
HomeOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--home", help="Home folder of the installation; default: TEACHBACK_HOME or ./teachback-home."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

OURS = "/api/teachback/v1"
"""Where the API has what neither dialect has."""
_Model = TypeVar("_Model")
_BY_STATUS: Mapping[int, type[TeachbackError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
}


class _Login(BaseModel):
    user_id: str
    token: str


class _Said(BaseModel):
    """The forms in which the dialects say what is wrong."""

    error_desc: str = ""
    detail: Any = ""
    message: str = ""
    description: str = ""


def settings_of(home: Path | None) -> Settings:
    """Return this machine's settings, with *home* if one was named."""
    return Settings() if home is None else Settings(home=home)


class Client:
    """Calls with one key; use it in a `with` block.

    Args:
        url: Address of the API, without a path.
        key: API key.
        timeout_s: Of one call.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._key = key
        # No proxy of the environment: the key would travel through it.
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout_s, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        )
        self._user = ""

    @classmethod
    def of(cls, url: str, key: str, home: Path | None) -> Self:
        """Make a client from what the options say; what they don't say is read from the home folder.

        Raises:
            UnauthorizedError: If there is no key.
            NotFoundError: If there is no address.
        """
        settings = settings_of(home)
        if not url:
            port = read_ports(settings.home).api
            if not port:
                raise NotStartedHereError(settings.home)
            url = api_address(settings.host, port)
        if not key:
            try:
                key = admin_key_file(settings.home).read_text().strip()
            except OSError as error:
                raise UnauthorizedError(
                    f"No API key: give --key or TEACHBACK_API_KEY; {admin_key_file(settings.home)} cannot be read."
                ) from error
        return cls(url, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def login(self) -> str:
        """Exchange the key for a token, which later calls show; returns the user id."""
        if not self._user:
            said = self.get_as(_Login, self.request("POST", "/api/v1/login", json={"ngc_api_key": self._key}))
            self._user = said.user_id
            self._http.headers["Authorization"] = f"Bearer {said.token}"
        return self._user

    def cloud(self, path: str) -> str:
        """Return the path of *path* in the MONAI Cloud dialect, for this key's user."""
        return f"/api/v1/users/{self.login()}/{path}"

    def get(self, path: str, **query: str | int) -> Any:
        """Return what `GET path` answers, as JSON."""
        return self.request("GET", path, params=query).json()

    def post(self, path: str, body: Any) -> Any:
        """Return what `POST path` answers, as JSON."""
        return self.request("POST", path, json=body).json()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer of one call.

        Raises:
            TeachbackError: Of the class that the status means, with what the server said, in one line.
        """
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise TeachbackError(f"{self.url} does not answer: {error}. Is `teachback up` running?") from error
        if answer.is_error:
            raise _error_of(answer)
        return answer

    def save(self, path: str, to: Path, *, within_s: float, **options: Any) -> int:
        """Write what `GET path` answers to a new file, as it comes, and return how many bytes it has.

        Args:
            path: The path.
            to: The file; it has its name once it is whole.
            within_s: The longest between two pieces.
            options: As httpx takes them.

        Raises:
            InvalidRequestError: If the file is there already, or cannot be written.
            TeachbackError: As `request`.
        """
        partial = to.with_name(f".{to.name}.partial")
        try:
            with self._http.stream("GET", path, timeout=within_s, **options) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error_of(answer)
                if to.exists():
                    raise InvalidRequestError(f"{to} exists already: name another file")
                with partial.open("wb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
            partial.rename(to)
        except httpx.HTTPError as error:
            raise TeachbackError(f"{self.url} broke off: {error}. Ask again") from error
        except OSError as error:
            raise InvalidRequestError(f"{to} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        return to.stat().st_size

    @staticmethod
    def get_as(model: type[_Model], answer: httpx.Response) -> _Model:
        """Return *answer* checked as *model*.

        Raises:
            TeachbackError: If it is something else: another server, or another version.
        """
        try:
            return TypeAdapter(model).validate_json(answer.content)
        except ValidationError as error:
            raise TeachbackError(f"{answer.url} answered in a form this version does not know: {error}") from error


class NotStartedHereError(NotFoundError):
    """No address was given, and the home folder knows none."""

    def __init__(self, home: Path) -> None:
        # Not in the words of its class: nothing was asked for by name.
        Exception.__init__(
            self,
            f"No installation was ever started in {home}{os.sep}: give --url or TEACHBACK_URL, --home, "
            "or start one with `teachback up`.",
        )


def _error_of(answer: httpx.Response) -> TeachbackError:
    try:
        said = _Said.model_validate_json(answer.content)
        message = said.error_desc or said.message or said.description or str(said.detail)
    except ValidationError:
        message = answer.text[:300]
    text = f"{message or answer.reason_phrase} ({answer.request.method} {answer.url.path}: {answer.status_code})"
    error = _BY_STATUS.get(answer.status_code, TeachbackError)
    return _AnsweredError(text) if error is NotFoundError else error(text)


class _AnsweredError(NotFoundError):
    """The server knows no such thing; its own words."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
