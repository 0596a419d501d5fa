"""Routes about stored registry credentials: put, shown without their secrets, deleted."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web
from msgspec import UNSET

from common import credential_texts as texts
from coordinator import credential_documents as documents
from coordinator.api.admission import creator_of
from coordinator.api.answers import json_answer
from coordinator.api.bodies import read_json
from coordinator.api.credential_body import read_credential
from coordinator.api.faults import clipped, fault
from coordinator.api.guard import CALLER
from coordinator.api.permissions import API
from coordinator.api.problems import Refusal, bad_request
from coordinator.api.queries import CREDENTIALS, Reader
from coordinator.credentials.records import CredentialRecord, is_credential_name
from coordinator.credentials.table import (
    MOST_CREDENTIALS,
    CredentialTable,
    NoCredentialKeyError,
    NoSuchCredentialError,
    TooManyCredentialsError,
)
from coordinator.views.times import milliseconds


class CredentialRoutes:
    """The routes."""

    def __init__(self, table: CredentialTable) -> None:
        self._table = table

    async def put(self, request: web.Request) -> web.Response:
        """``PUT /api/v1/credentials/{name}``."""
        name = request.match_info["name"]
        if not is_credential_name(name):
            raise bad_request([fault("name", texts.CREDENTIAL_NAME(text=clipped(name)))])
        login = await read_json(request, partial(read_credential, name))
        caller = request[CALLER]
        creator = creator_of(caller)
        try:
            record, is_new = await self._table.put(login, creator)
        except NoCredentialKeyError:
            raise Refusal(HTTPStatus.CONFLICT, texts.CREDENTIAL_NO_KEY()) from None
        except TooManyCredentialsError:
            full = texts.CREDENTIALS_TOO_MANY(most=MOST_CREDENTIALS)
            raise Refusal(HTTPStatus.CONFLICT, full) from None
        response = json_answer(_shown(record), HTTPStatus.CREATED if is_new else HTTPStatus.OK)
        response.headers[hdrs.LOCATION] = f"{API}/credentials/{name}"
        return response

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/credentials/{name}``."""
        name = request.match_info["name"]
        record = await self._table.find(name)
        if record is None:
            raise _unknown(name)
        return json_answer(_shown(record))

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/credentials``."""
        query = Reader(request.query)
        page = query.page(CREDENTIALS)
        query.done()
        records = self._table.all()
        return json_answer(
            documents.RegistryCredentialList(
                credentials=[_shown(record) for record in records[page.of(len(records))]],
                total=len(records),
                limit=page.limit,
                offset=page.offset,
            )
        )

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /api/v1/credentials/{name}``."""
        name = request.match_info["name"]
        try:
            await self._table.delete(name)
        except NoSuchCredentialError:
            raise _unknown(name) from None
        text = texts.CREDENTIAL_DELETED()
        return json_answer(
            documents.RegistryCredentialDeleted(
                name=name,
                message=text.message,
                message_code=text.code,
                message_params=text.params,
            )
        )


def _unknown(name: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, texts.CREDENTIAL_UNKNOWN(name=clipped(name)))


def _shown(record: CredentialRecord) -> documents.RegistryCredential:
    return documents.RegistryCredential(
        name=record.name,
        registry=record.registry,
        kind="password" if record.username else "token",
        username=record.username or UNSET,
        created_at=milliseconds(record.created_at),
        updated_at=milliseconds(record.updated_at),
        updated_by=UNSET if record.updated_by is None else record.updated_by.user,
    )
