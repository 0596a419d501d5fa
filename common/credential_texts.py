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
CREDENTIAL_GONE = Template(
    "credential.gone", "The credential {name} that the task names is not there any more."
)
CREDENTIAL_NOT_OPENED = Template(
    "credential.notOpened",
    "The credential {name} that the task names was sealed by a key that is not there any more.",
)
CREDENTIAL_NO_RIGHT = Template(
    "credential.noRight", "{user}, who created the task, may not use credentials any more."
)
CREDENTIAL_OLD_AGENT = Template(
    "credential.oldAgent",
    "The agent of node {node} is of version {version}, which cannot be given credentials.",
)
CREDENTIAL_BAD_KEY = Template(
    "credential.badKey", "The agent of node {node} shows a key that nothing can be sealed for."
)
CREDENTIAL_TOO_MANY_GROUPS = Template(
    "credential.tooManyGroups", "{user} is in too many groups to be asked about again later"
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
