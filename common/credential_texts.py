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
PULL_SECRET_NAME = Template(
    "pullSecret.name", "{text} names no Secret: namespace/name is expected, as shop/regcred"
)
PULL_SECRET_NO_KUBERNETES = Template(
    "pullSecret.noKubernetes",
    "Secrets can be named only where the coordinator works with Kubernetes: "
    "elsewhere store a credential, and name it in credentials",
)
PULL_SECRET_GONE = Template("pullSecret.gone", "There is no Secret {name}.")
PULL_SECRET_FORBIDDEN = Template(
    "pullSecret.forbidden",
    "The coordinator may not get the Secret {name}: its namespace must allow that by a RoleBinding "
    "(deploy/components/pull-secrets).",
)
PULL_SECRET_KIND = Template(
    "pullSecret.kind",
    "The Secret {name} is of type {kind}: kubernetes.io/dockerconfigjson or "
    "kubernetes.io/dockercfg is needed.",
)
PULL_SECRET_UNREADABLE = Template(
    "pullSecret.unreadable", "What the Secret {name} holds is no Docker configuration."
)
PULL_SECRET_TOO_MANY = Template(
    "pullSecret.tooMany",
    "The Secret {name} holds more than {most} entries, or one whose name has more than {longest} "
    "characters.",
)
PULL_SECRET_ENTRY = Template(
    "pullSecret.entry", "The Secret {name} cannot be used for {image}: {why}."
)
PULL_SECRET_NO_RIGHT = Template(
    "pullSecret.noRight",
    "{user}, who created the task, may not get the Secret {name} any more, nor use credentials.",
)
CREDENTIAL_TOO_MANY_LOGINS = Template(
    "credential.tooManyLogins",
    "What the task names holds more than {most} logins for its images.",
)
CREDENTIAL_LOGINS_TOO_LARGE = Template(
    "credential.loginsTooLarge",
    "The logins of what the task names are too large for a message to node {node}: {size} bytes "
    "sealed, and {limit} are the limit.",
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
