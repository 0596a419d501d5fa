"""Every sentence that the service says to people, as a code with parameters and as English.

Whoever shows a sentence may word it anew from the code, in another language; whoever does not know
the code shows the English. A code, once published, keeps its meaning and its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

from common.text import ALL_TEMPLATES, Template


def templates() -> Iterator[Template]:
    """Every sentence there is, for documents and for tests."""
    return iter(ALL_TEMPLATES.values())


# ── nodes: why one takes no work, or was given up ────────────────────────────────────────────

NODE_UNKNOWN = Template("node.unknown", "Node {node} is unknown.")
NODE_CONFLICT = Template("node.conflict", "Two agents run under the node name {node}: {instances}.")
NODE_UNSCHEDULABLE = Template(
    "node.unschedulable", "Node {node} is not ready or takes no new work."
)
NODE_NO_AGENT = Template("node.noAgent", "The agent on node {node} does not respond.")
NODE_NO_RUNTIME = Template(
    "node.noRuntime", "The agent of node {node} has no container runtime: {why}."
)
NODE_NO_RUNTIME_WAITED = Template(
    "node.noRuntime.waited", f"{NODE_NO_RUNTIME.english} Waited for {{seconds:g}} s."
)
NODE_UNKNOWN_WAITED = Template(
    "node.unknown.waited", f"{NODE_UNKNOWN.english} Waited for {{seconds:g}} s."
)
NODE_CONFLICT_WAITED = Template(
    "node.conflict.waited", f"{NODE_CONFLICT.english} Waited for {{seconds:g}} s."
)
NODE_UNSCHEDULABLE_WAITED = Template(
    "node.unschedulable.waited", f"{NODE_UNSCHEDULABLE.english} Waited for {{seconds:g}} s."
)
NODE_NO_AGENT_WAITED = Template(
    "node.noAgent.waited", f"{NODE_NO_AGENT.english} Waited for {{seconds:g}} s."
)
NODE_CORDONED_WAITED = Template(
    "node.cordoned.waited", "Node {node} is cordoned. Waited for {seconds:g} s."
)
NODE_NOT_READY_WAITED = Template(
    "node.notReady.waited", "Node {node} is not Ready ({status}). Waited for {seconds:g} s."
)
NODE_READY_UNKNOWN_WAITED = Template(
    "node.readyUnknown.waited",
    "Node {node} has not reported yet whether it is Ready. Waited for {seconds:g} s.",
)
AGENT_SILENT = Template(
    "agent.silent", "The agent of node {node} has not been heard for {seconds:g} s."
)
AGENT_DIED = Template("agent.died", "{times} runs of the agent ended while they were at it.")

# ── outcomes that say nothing by themselves ──────────────────────────────────────────────────

OUTCOME_UNDECODABLE = Template("outcome.undecodable", "The stored outcome cannot be decoded.")
LIST_DAMAGED = Template(
    "task.listDamaged", "The stored list of the task's nodes cannot be read: {why}."
)
NODE_NOT_SHOWN = Template(
    "node.notShown", "Node {node} cannot be shown, because of a fault; the log tells more."
)
TASK_NOT_SHOWN = Template(
    "task.notShown", "Not all of this task can be shown, because of a fault; the log tells more."
)
OUTCOME_NOT_UNDERSTOOD = Template(
    "outcome.notUnderstood", "The request to store an outcome cannot be understood: {why}."
)
OUTCOME_TOO_LARGE = Template(
    "outcome.tooLarge", "The outcome has {size:,} bytes; at most {limit:,} can be stored."
)
OUTCOME_NO_VERDICT = Template("outcome.noVerdict", "Only the leader decides for a node's agent.")
OUTCOME_TOO_EARLY = Template("outcome.tooEarly", "The task has not started.")
OUTCOME_NOT_ITS_NODE = Template("outcome.notItsNode", "Node {node} is not one of the task's.")
OUTCOME_NOT_DUE = Template(
    "outcome.notDue", "Attempt {attempt} has no outcome before that of attempt {due} is stored."
)
OUTCOME_TOO_MANY = Template(
    "outcome.tooMany", "Too many outcomes are being stored for one node, or for all, at once."
)
OUTCOME_INCOMPLETE = Template("outcome.incomplete", "The outcome does not name every image.")

# ── tasks: why one waits, or ended as it did ─────────────────────────────────────────────────

TASK_QUEUED = Template("task.queued", "Queued: {running} of {most} task slots are in use.")
TASK_STARTING = Template(
    "task.starting", "Waits for its nodes to be known and its start to be stored."
)
TASK_LOADING = Template("task.loading", "This coordinator is loading the nodes of the task.")
TASK_UNREADABLE = Template("task.unreadable", "This coordinator cannot read the task's head.")
TASKS_LOOKED_FOR = Template(
    "task.tooManyLookedFor",
    "Too many tasks that this coordinator does not know are being looked for at this moment.",
)
TASK_NO_MATCH = Template("task.noMatch", "No node matches {selection}.")
TASK_NO_NODES = Template("task.noNodes", "There are no nodes.")
TASK_NODES_GONE = Template(
    "task.nodesGone", "Every node of the task ceased to exist before it was done."
)
TASK_SOME_FAILED = Template(
    "task.someFailed", "{failed} of {total} nodes failed (limit {allowed})."
)
TASK_TOO_MANY_FAILED = Template(
    "task.tooManyFailed", "{failed} of {total} nodes failed (limit {allowed}), mostly {reason}."
)

# ── nodes, as their source sees them ─────────────────────────────────────────────────────────

NODE_CORDONED = Template("node.cordoned", "Node {node} is cordoned.")
NODE_NOT_READY = Template("node.notReady", "Node {node} is not Ready ({status}).")
NODE_READY_UNKNOWN = Template(
    "node.readyUnknown", "Node {node} has not reported yet whether it is Ready."
)
NODE_NOT_IN_KUBERNETES = Template(
    "node.notInKubernetes", "Kubernetes knows no node of the name {node}."
)
NODE_LEFT_OUT = Template("node.leftOut", "Node {node} is left out by IPS_NODE_SELECTOR.")
KUBERNETES_AWAY = Template("kubernetes.away", "Kubernetes cannot be asked for its nodes: {why}.")
KUBERNETES_NOT_LISTED = Template("kubernetes.notListed", "Kubernetes has not listed its nodes yet.")

# ── readiness: why the service cannot answer, or takes nothing new ───────────────────────────

COORDINATOR_STARTING = Template("coordinator.starting", "The coordinator is starting.")
COORDINATOR_LOADING = Template("coordinator.loading", "The coordinator is loading its state.")
NATS_SERVER_LOADING = Template(
    "nats.serverLoading", "The coordinator's nats-server is loading its store."
)
NATS_AWAY = Template("nats.away", "NATS cannot be reached: {why}.")
TOKEN_SECRET_AWAITED = Template(
    "nats.tokenAwaited",
    "The Secret {secret} of NATS cannot be used or made yet: {why}.",
)
LEASE_NOT_RENEWED = Template(
    "lease.notRenewed", "The lease could not be renewed: the store is away or refuses writes."
)
STORE_REFUSES_WRITES = Template("store.refusesWrites", "The store does not take writes: {why}.")
STORE_UNUSABLE = Template("store.unusable", "The store cannot be used: {why}.")
STORE_NO_ROOM = Template(
    "store.noRoom",
    "The store has no room for what is to be kept: {why}. "
    "Make room, or lower IPS_EVENTS_MAX_BYTES, which is set aside at once.",
)
STORE_NOT_PREPARED = Template("store.notPrepared", "The store cannot be prepared: {why}.")
CLOCK_DIFFERS = Template(
    "clock.differs",
    "This coordinator's clock is {seconds} s ahead of the store's, whose time is used.",
)
EVENTS_NOT_READ = Template("events.notRead", "The event stream is not being read at this moment.")
EVENTS_UNREADABLE = Template("events.unreadable", "The event stream cannot be read: {why}.")
KEY_UNREADABLE = Template("key.unreadable", "What this key stands for cannot be read.")
KEY_TASK_UNREADABLE = Template(
    "key.taskUnreadable", "The task that this key stands for cannot be read."
)

# ── answers about a task ─────────────────────────────────────────────────────────────────────

CANCEL_DONE = Template("cancel.done", "Task cancelled successfully")
TASK_OVER = Template("task.over", "The task is {status}.")
TASK_UNKNOWN = Template("task.unknown", "There is no such task.")
TASK_NOT_FOUND = Template("task.notFound", 'Task "{task}" not found.')
TASK_NEVER_CHANGES = Template("task.neverChanges", "The task is already {status}.")
TASK_NOT_FINISHED = Template(
    "task.notFinished", "The task is {status}; only a finished one can be repeated."
)
TASK_NONE_FAILED = Template("task.noneFailed", "No node of the task failed.")
TASKS_TOO_MANY = Template(
    "task.tooManyPending",
    "{most:,} tasks are pending, as many as may be (IPS_MAX_PENDING_TASKS).",
)
KEY_REUSED = Template("key.reused", "This {header} was used with another body, for {task}.")

# ── who asks, and what they may do ───────────────────────────────────────────────────────────

ACCESS_UNIDENTIFIED = Template(
    "access.unidentified",
    "Nobody knows who asks: send a token (Authorization: Bearer …), or log in on the page.",
)
ACCESS_UNKNOWN = Template("access.unknown", "The token is not known here, or no longer good.")
ACCESS_SESSION_OVER = Template("access.sessionOver", "The session is over: log in again.")
ACCESS_FORBIDDEN = Template("access.forbidden", "{user} may not {verb} {resource}.")
ACCESS_AUTHORITY_AWAY = Template(
    "access.authorityAway", "Nobody can say who asks, or what they may do: {authority}: {why}."
)
ACCESS_FOREIGN = Template(
    "access.foreignOrigin", "A page of another site made this request, which is not allowed."
)
ACCESS_STRANGE_HOST = Template(
    "access.strangeHost",
    "No service of the name {host} is here; where that is its name, IPS_PUBLIC_URL must say so.",
)
ACCESS_NO_KEYS = Template(
    "access.noKeys", "The keys that sessions are sealed with have not been read yet."
)
ACCESS_SESSION_TOO_LARGE = Template(
    "access.sessionTooLarge", "The session is larger than a browser keeps: too many groups."
)
ACCESS_NO_LOGIN = Template("access.noLogin", "There is no such login here.")
ACCESS_LOGIN_FAILED = Template("access.loginFailed", "The login did not succeed: {why}.")
AUDIT_NOT_READY = Template("audit.notReady", "The audit cannot be read yet.")
VALUE_NOT_TIME = Template(
    "value.notTime", "must be a time as RFC 3339 writes it, 2026-01-16T15:12:34Z, not {got}"
)
ACCESS_OPEN = Template(
    "access.open",
    "Nobody is asked who they are (IPS_AUTH=none), and others than this machine can reach the API.",
)

# ── what a caller may warm, and how often ────────────────────────────────────────────────────

POLICY_NO_RULE = Template(
    "policy.noRule", "No rule of the policy allows {user} anything; asked for was {image}."
)
POLICY_IMAGE = Template("policy.image", "Rule {rule} does not allow the image {image}.")
POLICY_PRIORITY = Template(
    "policy.priority", "Rule {rule} allows the image {image} with priority {most} at most."
)
POLICY_NODES = Template(
    "policy.nodes",
    "Rule {rule} allows {most:,} nodes at most for the image {image}; these are {count:,}.",
)
POLICY_NODE = Template(
    "policy.node",
    "Rule {rule} does not allow node {node} for the image {image}, or there is none of that name.",
)
TASKS_TOO_MANY_OF_USER = Template(
    "task.tooManyPendingOfUser",
    "{most:,} tasks of {user} are pending, as many as may be (IPS_MAX_PENDING_PER_USER).",
)
REQUESTS_TOO_MANY = Template(
    "requests.tooMany", "{user} asks too often; {seconds} s is long enough."
)
LOGINS_TOO_MANY = Template(
    "logins.tooMany", "Too many tokens from this address were not known; wait for {seconds} s."
)
TASK_NO_MATCH_OR_TOO_MANY = Template(
    "task.noMatchOrTooMany",
    "No node matches {selection}, or more than the {most:,} that the policy allows.",
)

WEBHOOK_REFUSED = Template(
    "webhook.refused",
    "The webhook was not told: its address is {kind}, which is not allowed (IPS_WEBHOOK_NETWORKS).",
)
VALUE_WEBHOOK_REFUSED = Template(
    "value.webhookRefused", "is a {kind} address, which is not allowed (IPS_WEBHOOK_NETWORKS)"
)

# ── requests that are refused as a whole ─────────────────────────────────────────────────────

REQUEST_ONE_FAULT = Template("request.oneFault", "Invalid request: 1 error.")
REQUEST_FAULTS = Template("request.faults", "Invalid request: {count} errors.")
NODE_NOT_FOUND = Template("node.notFound", 'Node "{node}" not found.')
REQUEST_NO_ROUTE = Template(
    "request.noRoute", "Nothing is here; /openapi.json lists what there is."
)
REQUEST_METHODS = Template("request.methods", "This takes {methods}.")
REQUEST_TOO_LARGE = Template(
    "request.tooLarge",
    "The body is too large; {mebibytes} MiB ({limit:,} bytes) is the limit.",
)
REQUEST_TOO_SLOW = Template("request.tooSlow", "The body has not arrived within {seconds} s.")
REQUEST_TOO_MUCH_AT_ONCE = Template(
    "request.tooMuchAtOnce", "Too many large bodies are being read at this moment."
)
STREAMS_TOO_MANY = Template(
    "streams.tooMany", "{most:,} streams of events are open, as many as may be."
)
REQUEST_NOT_JSON_TYPE = Template(
    "request.contentType", "The body must be sent as Content-Type: {type}, in UTF-8."
)
SERVICE_FAULT = Template("service.fault", "The service has a fault; its log tells more.")

# ── one fault of a request: its body ─────────────────────────────────────────────────────────

BODY_EMPTY = Template("body.empty", "the body is empty; it must be a JSON object")
BODY_ENDS_EARLY = Template("body.endsEarly", "JSON ends too early (byte {length})")
BODY_NOT_UNICODE = Template("body.notUnicode", "a text in the body is not UTF-8")
BODY_TOO_DEEP = Template("body.tooDeep", "the body is nested too deeply")
BODY_BROKEN = Template("body.broken", "the body does not arrive as its headers say")
BODY_TOO_MANY_ENTRIES = Template(
    "body.tooManyEntries",
    "the body is nested too deeply, or its lists and objects have more than {most:,} entries",
)
BODY_NOT_JSON = Template("body.notJson", "{why}")
FIELD_REQUIRED = Template("field.required", "is required")
FIELD_UNKNOWN = Template("field.unknown", "is an unknown field")
FIELD_TOO_LARGE = Template(
    "field.tooLarge",
    "takes {size:,} bytes; a task may take {limit:,} bytes, nodeNames not counted",
)

# ── one fault of a request: a value; ``got`` is the value as JSON, or in a few words ─────────

VALUE_NOT_OBJECT = Template("value.notObject", "must be an object, not {got}")
VALUE_NOT_NUMBER = Template(
    "value.notNumber", "must be a whole number from {least:,} to {most:,}, not {got}"
)
VALUE_NOT_TEXT = Template("value.notText", "must be a text, not {got}")
VALUE_NOT_SHORT_TEXT = Template(
    "value.notShortText", "must be a text of at most {most:,} characters, not {got}"
)
VALUE_NOT_LIST = Template("value.notList", "must be a list, not {got}")
VALUE_NOT_FILLED_LIST = Template(
    "value.notFilledList", "must be a list of {least:,} to {most:,} entries, not {got}"
)
VALUE_NOT_FILLED_OBJECT = Template(
    "value.notFilledObject", "must be an object of at most {most:,} entries, not of {count:,}"
)
VALUE_NOT_CHOICE = Template("value.notChoice", "must be one of {choices}, not {got}")
VALUE_NOT_CHOICES = Template("value.notChoices", "must be out of {choices}, not {got}")
VALUE_NOT_FLAG = Template("value.notFlag", "must be true or false, not {got}")
VALUE_NOT_SHARE = Template(
    "value.notShare",
    'must be a whole number from 0 to {most:,} or a percentage from "0%" to "100%", not {got}',
)
VALUE_LENGTH = Template("value.length", "must have {least} to {most} characters, not {length:,}")
VALUE_NOT_WEB_ADDRESS = Template(
    "value.notWebAddress", "must be an http or https address with a host"
)
VALUE_NOT_IN_ADDRESS = Template(
    "value.notInAddress",
    "holds {character}, which no address can hold as it is; write it as {encoded}",
)
VALUE_NOT_LABEL_KEY = Template(
    "value.notLabelKey",
    'invalid label key "{text}": expected [prefix/]name',
)
VALUE_NOT_LABEL_VALUE = Template(
    "value.notLabelValue",
    'invalid label value "{text}": expected up to 63 letters, digits, "-", "_" and "."',
)
VALUE_NOT_NODE_NAME = Template(
    "value.notNodeName",
    'invalid node name "{text}": expected a lower-case RFC 1123 subdomain',
)
OPERATOR_NEEDS_VALUES = Template("operator.needsValues", "{operator} needs at least one value")
OPERATOR_TAKES_NONE = Template("operator.takesNone", "{operator} takes no values")
OPERATOR_TAKES_NUMBER = Template(
    "operator.takesNumber", "{operator} takes exactly one value, a whole number"
)

# ── one fault of a request: a label selector ─────────────────────────────────────────────────

SELECTOR_NO_TERM = Template(
    "selector.noTerm", 'invalid selector term "{text}"; examples: a=b, a!=b, a in (b,c), a, !a'
)
SELECTOR_KEY = Template("selector.key", 'invalid label key "{text}"')
SELECTOR_VALUE = Template("selector.value", 'invalid label value "{text}"')
SELECTOR_NUMBER = Template("selector.number", 'invalid whole number "{text}"')

# ── one fault of a request: an image reference ───────────────────────────────────────────────

IMAGE_EMPTY = Template("image.empty", "the image reference is empty")
IMAGE_WHITE_SPACE = Template("image.whiteSpace", "{text!r} contains whitespace")
IMAGE_SCHEME = Template(
    "image.scheme", "{text!r} begins with a scheme; write registry/repository:tag without it"
)
IMAGE_ID = Template(
    "image.id",
    "{text!r} is an image id, which no registry knows; give the image's name",
)
IMAGE_DIGEST_ALONE = Template(
    "image.digestAlone",
    "{text!r} is an image id or a digest without a name; write registry/repository@sha256:…",
)
IMAGE_REGISTRY = Template(
    "image.registry",
    "invalid registry host {text!r} before the first '/': "
    "expected a host name or address, IPv6 in brackets, then maybe ':' and a port",
)
IMAGE_NO_NAME = Template("image.noName", "the repository's name is missing")
IMAGE_UPPER_CASE = Template("image.upperCase", "repository name {text!r} must be lower case")
IMAGE_EMPTY_PART = Template("image.emptyPart", "repository name {text!r} has an empty part")
IMAGE_NAME_PART = Template(
    "image.namePart",
    "{text!r} is not allowed in a repository name: lower-case letters and "
    "digits, separated by one '.', one or two '_', or dashes",
)
IMAGE_LONG_NAME = Template(
    "image.longName", "repository name {text!r} has {length} characters, more than {most}"
)
IMAGE_TAG = Template(
    "image.tag",
    "invalid tag {text!r}: expected 1 to 128 letters, digits, '_', '.' and '-', "
    "the first neither '.' nor '-'",
)
IMAGE_DIGEST_KIND = Template("image.digestKind", "digest {text!r} must begin with one of {choices}")
IMAGE_DIGEST_DIGITS = Template(
    "image.digestDigits", "digest {text!r} must be lower-case hexadecimal"
)
IMAGE_DIGEST_LENGTH = Template(
    "image.digestLength", "digest {text!r} has {length} digits; {algorithm} has {most}"
)
