"""`/.well-known/smart-configuration`: how a client gets in.

See https://hl7.org/fhir/smart-app-launch/conformance.html.
"""

from typing import Any, Final

from kanwa_shared.security.key_set import ALGORITHMS

_SCOPES: Final = ("system/*.cruds", "system/*.rs", "system/ServiceRequest.cruds", "system/Task.rus")


def smart_configuration(*, issuer: str, token_endpoint: str | None, jwks_uri: str | None) -> dict[str, Any]:
    """The document for SMART Backend Services.

    Without a token endpoint of kanwa's own, tokens come from the hospital's authorization server, `issuer`,
    whose metadata (RFC 8414) says where. Members that do not apply are left out.
    """
    offered: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "token_endpoint": token_endpoint or f"{issuer.rstrip('/')}/token",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": list(_SCOPES),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }
    return {name: value for name, value in offered.items() if value is not None}
