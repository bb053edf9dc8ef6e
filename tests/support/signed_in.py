"""Settings and tokens of a kanwa that asks who is calling."""

from pathlib import Path
from typing import Any

from tests.support.authorization import AUDIENCE, ISSUER, AuthorizationServer

PEER_PASSWORD = "what-services-share"


def protected_settings(server: AuthorizationServer) -> dict[str, Any]:
    """Settings under which the server's tokens are asked for."""
    return {
        "auth_mode": "jwt", "auth_issuer": ISSUER, "auth_audience": AUDIENCE, "auth_jwks_file": server.file,
        "events_password": PEER_PASSWORD,
    }  # fmt: skip


def authorization_server(folder: Path) -> AuthorizationServer:
    """One with a key of its own."""
    server = AuthorizationServer(folder)
    server.add_key("first")
    return server


def bearer(server: AuthorizationServer, scope: str, client_id: str = "ehr") -> dict[str, str]:
    """The header of a client with these scopes."""
    return {"authorization": f"Bearer {server.token(scope=scope, sub=client_id, client_id=client_id)}"}
