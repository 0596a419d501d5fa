"""The operations on stored registry credentials, as OpenAPI tells them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from coordinator import credential_documents as documents
from coordinator.api.credential_body import PutRegistryCredential
from coordinator.api.described import DocumentedAnswer, Operation, pages, path
from coordinator.api.queries import CREDENTIALS

_NAME: Final = path("name", "shop")
_BAD, _MISSING, _CONFLICT = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
_LARGE, _TYPE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
_SLOW, _AWAY = HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE
_PLACE: Final = {"Location": "The path of the credential."}

CREDENTIAL_OPERATIONS: Final = (
    Operation(
        "get",
        "/api/v1/credentials",
        "listCredentials",
        "List stored registry credentials, by name, without their secrets",
        (
            DocumentedAnswer(
                HTTPStatus.OK, "One page of credentials.", documents.RegistryCredentialList
            ),
        ),
        (_BAD, _AWAY),
        pages(CREDENTIALS),
    ),
    Operation(
        "put",
        "/api/v1/credentials/{name}",
        "putCredential",
        "Store a registry credential, or replace it",
        (
            DocumentedAnswer(
                HTTPStatus.CREATED,
                "The credential is stored.",
                documents.RegistryCredential,
                headers=_PLACE,
            ),
            DocumentedAnswer(
                HTTPStatus.OK, "It is replaced.", documents.RegistryCredential, headers=_PLACE
            ),
        ),
        (_BAD, _SLOW, _CONFLICT, _LARGE, _TYPE, _AWAY),
        (_NAME,),
        PutRegistryCredential,
    ),
    Operation(
        "get",
        "/api/v1/credentials/{name}",
        "getCredential",
        "Show a stored registry credential, without its secret",
        (DocumentedAnswer(HTTPStatus.OK, "The credential.", documents.RegistryCredential),),
        (_MISSING, _AWAY),
        (_NAME,),
    ),
    Operation(
        "delete",
        "/api/v1/credentials/{name}",
        "deleteCredential",
        "Delete a stored registry credential",
        (DocumentedAnswer(HTTPStatus.OK, "It is deleted.", documents.RegistryCredentialDeleted),),
        (_MISSING, _AWAY),
        (_NAME,),
    ),
)
