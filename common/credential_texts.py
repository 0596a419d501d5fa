"""Every sentence about registry credentials; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

CREDENTIAL_UNKNOWN = Template("credential.unknown", "There is no credential {name}.")
CREDENTIAL_NAME = Template(
    "credential.name",
    "{text} is no name of a credential: lower-case letters, digits and dashes, 50 at most",
)
CREDENTIAL_REGISTRY = Template(
    "credential.registry",
    "must be a registry: a host as images name it, with its port where it has one, and no path",
)
CREDENTIAL_ONE_KIND = Template(
    "credential.oneKind", "must hold either username and password, or token"
)
CREDENTIAL_NO_KEY = Template(
    "credential.noKey",
    "No credential can be stored: IPS_CREDENTIALS_KEY_FILE names no file with a key to seal it by.",
)
CREDENTIALS_TOO_MANY = Template(
    "credential.tooMany", "There are {most} credentials already, and no more may be."
)
CREDENTIALS_LOADING = Template(
    "credential.loading", "The stored credentials have not been read yet."
)
CREDENTIAL_CONTENDED = Template(
    "credential.contended", "Others change this credential at the same time."
)
CREDENTIAL_DELETED = Template(
    "credential.deleted", "Credential deleted. Tasks that name it fail where they need it."
)
