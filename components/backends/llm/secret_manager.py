"""API keys from Google Secret Manager: Vertex AI gives its containers no secrets, and a key must not be a pipeline parameter.

The request is the REST one of https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access,
with the account that the container runs as.
"""

import base64
import os
import re
from typing import Any

from pada_agent.components.core.errors import EndpointError

NAME = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+")
ADDRESS = "https://secretmanager.googleapis.com"
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"  # gcloud's own variable, for private endpoints
SECONDS = 30


def read_secret(name: str) -> str:
    """The text of `projects/P/secrets/S/versions/V`. Raises EndpointError with what to do."""
    if not NAME.fullmatch(name):
        raise EndpointError(
            f"api_key_secret: {name} is not projects/PROJECT/secrets/SECRET/versions/VERSION (or versions/latest)"
        )
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession
        from requests import RequestException
    except ImportError as e:
        raise EndpointError(f"api_key_secret: Google's libraries are missing ({e}); pip install 'pada-agent[storage]'") from e
    address = os.environ.get(OVERRIDE, ADDRESS).rstrip("/")
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        reply = session.get(f"{address}/v1/{name}:access", timeout=SECONDS)
    except (GoogleAuthError, RequestException) as e:
        raise EndpointError(f"secret {name}: cannot be read ({type(e).__name__}: {str(e).splitlines()[0][:200]})") from e
    if reply.status_code in {401, 403}:
        raise EndpointError(
            f"secret {name}: this account may not read it (HTTP {reply.status_code}); "
            "give it the role roles/secretmanager.secretAccessor on the secret"
        )
    if reply.status_code != 200:
        raise EndpointError(f"secret {name}: HTTP {reply.status_code}; check project, secret and version")
    try:
        return base64.b64decode(reply.json()["payload"]["data"], validate=True).decode().strip()
    except (ValueError, KeyError, TypeError) as e:
        raise EndpointError(f"secret {name}: the answer holds no text ({type(e).__name__})") from e
