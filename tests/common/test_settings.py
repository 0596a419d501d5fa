from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.settings import AgentSettings, DriverName
from common.logs import LogFormat
from common.messages import MOST_LABELS
from common.setting_kinds import Listen
from common.settings import NAMES, ProgramSettings, SettingsError
from coordinator.access.callers import Way
from coordinator.access.roles import Role
from coordinator.core.task import Operator, Requirement
from coordinator.settings import CoordinatorSettings, NodeSourceName

ROOT = Path(__file__).parents[2]
AGENT = {"IPS_NATS_URL": "nats://127.0.0.1:4222", "IPS_NODE_NAME": "node-1"}
PROGRAMS: list[type[ProgramSettings]] = [CoordinatorSettings, AgentSettings]


def coordinator(**environ: str) -> CoordinatorSettings:
    """The coordinator's settings in an environment."""
    return CoordinatorSettings.load(environ)


def agent(**environ: str) -> AgentSettings:
    """An agent's settings in an environment that has what it needs."""
    return AgentSettings.load({**AGENT, **environ})


def faults(program: type[ProgramSettings], environ: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        program.load(environ)
    assert str(caught.value) == "; ".join(caught.value.faults)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.faults


# ── defaults ─────────────────────────────────────────────────────────────────────────────────


DEFAULTS: Final = CoordinatorSettings(
    nats_token=None,
    nats_token_file=None,
    nats_creds=None,
    nats_ca=None,
    data_dir=Path("/var/lib/ips"),
    log_level=logging.INFO,
    log_format=LogFormat.AUTO,
    server_port=8080,
    listen="localhost",
    tls_cert=None,
    tls_key=None,
    public_url=None,
    ways=frozenset(),
    auth_tokens=None,
    roles={"ips-view": Role.VIEW, "ips-edit": Role.EDIT, "ips-admin": Role.ADMIN},
    oidc_issuer=None,
    oidc_audience=None,
    oidc_client_id=None,
    oidc_client_secret_file=None,
    oidc_user_claim="sub",
    oidc_groups_claim="groups",
    oidc_scopes="openid profile email groups",
    oidc_ca=None,
    session_keys_file=None,
    session_hours=8,
    metrics_auth=False,
    policy=None,
    max_pending_per_user=100,
    requests_per_minute=3000,
    failed_logins_per_minute=60,
    namespace="default",
    worker_image=None,
    nats_servers=None,
    nats_token_secret=None,
    nats_callout_secret=None,
    nats_ca_secret=None,
    nats_callout_key=None,
    agent_service_account=None,
    nats_listen=Listen("127.0.0.1", 4222),
    nats_server=None,
    replicas=1,
    node_source=NodeSourceName.AGENTS,
    node_selector=(Requirement(key="kubernetes.io/os", operator=Operator.IN, values=("linux",)),),
    kube_context=None,
    kubernetes_events=False,
    credentials_key_file=None,
    gates=False,
    webhook_secret_file=None,
    webhook_networks=None,
    webhook_private=True,
    max_concurrent_tasks=3,
    max_concurrent_repairs=3,
    disk_limit_percent=85.0,
    max_pending_tasks=1000,
    events_max_bytes=1024**3,
    audit_max_bytes=1024**3,
    audit_days=90,
    max_nodes_in_flight=0,
    agent_wait_seconds=60,
    task_retention_hours=168,
    node_forget_seconds=3600,
)
"""Of a coordinator of root's."""


def test_coordinator_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator needs nothing to be set."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert coordinator() == DEFAULTS


def test_agent_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent needs a NATS, and takes the host's name in lower case."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(socket, "gethostname", lambda: "Node-1.Example")
    assert AgentSettings.load({"IPS_NATS_URL": "nats://a"}) == AgentSettings(
        nats_token=None,
        nats_token_file=None,
        nats_creds=None,
        nats_ca=None,
        data_dir=Path("/var/lib/ips"),
        log_level=logging.INFO,
        log_format=LogFormat.AUTO,
        nats_servers=("nats://a",),
        node_name="node-1.example",
        node_labels={},
        runtime=DriverName.CRI,
        runtime_endpoint="unix:///run/containerd/containerd.sock",
        crictl="crictl",
        registry_config=None,
        credential_provider_config=None,
        credential_provider_folder=None,
        installation="ips",
        parallel_pulls=2,
        pin_disk_percent=50,
        metrics_port=9101,
        stall_seconds=300,
        heartbeat_seconds=10,
        simulated_seconds=2,
        simulated_bytes=50_000_000,
        simulated_failure_rate=0,
        simulated_hold=None,
    )


def test_agent_needs_nats() -> None:
    """An agent without a NATS says what to set."""
    [fault] = faults(AgentSettings, {"IPS_NODE_NAME": "a"})
    assert fault.startswith("IPS_NATS_URL must be set: nats://host:port or tls://host:port")


def test_host_name_that_is_no_node_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default that does not work out here is named as such."""
    monkeypatch.setattr(socket, "gethostname", lambda: "my_host")
    [fault] = faults(AgentSettings, {"IPS_NATS_URL": "nats://a"})
    assert fault.startswith("IPS_NODE_NAME='my_host': accepted is an RFC 1123 subdomain")
    assert "default on this machine" in fault


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/a"}, "/home/a/.local/state/ips"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "/state"}, "/state/ips"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "state"}, "/home/a/.local/state/ips"),
        ({"HOME": "/home/a", "IPS_DATA_DIR": "/data"}, "/data"),
    ],
)
def test_data_dir_of_a_user(
    environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's data are in the user's state directory."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert coordinator(**environ).data_dir == Path(folder)


def test_data_dir_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home must say where."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert faults(CoordinatorSettings, {}) == (
        "IPS_DATA_DIR must be set: this user has no home directory",
    )


def test_state_dirs() -> None:
    """Coordinator and agents share a data directory without meeting."""
    assert coordinator(IPS_DATA_DIR="/data").state_dir == Path("/data/coordinator")
    assert agent(IPS_DATA_DIR="/data").state_dir == Path("/data/agent/node-1")


def test_relative_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path counts from where the program was started."""
    monkeypatch.chdir(tmp_path)
    assert coordinator(IPS_DATA_DIR="data").data_dir == tmp_path / "data"


# ── values ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SERVER_PORT", "0", "server_port", 0),
        ("SERVER_PORT", " 65535\n", "server_port", 65535),
        ("SERVER_PORT", "", "server_port", 8080),
        ("IPS_LISTEN", "[0::0]", "listen", "[::]"),
        ("IPS_LISTEN", "192.0.2.1", "listen", "192.0.2.1"),
        ("IPS_AUTH", "tokens", "listen", "[::]"),
        ("IPS_AUTH", "None", "listen", "localhost"),
        ("IPS_AUTH", "none", "ways", frozenset()),
        ("IPS_AUTH", "tokens, OIDC", "ways", frozenset({Way.TOKENS, Way.OIDC})),
        ("IPS_PUBLIC_URL", "https://ips.example", "public_url", "https://ips.example"),
        ("IPS_ROLES", "a=view,b=c=edit", "roles", {"a": Role.VIEW, "b=c": Role.EDIT}),
        ("K8S_NAMESPACE", "ips-system", "namespace", "ips-system"),
        ("WORKER_IMAGE", "what/ever it WAS", "worker_image", "what/ever it WAS"),
        ("IPS_NATS_URL", "nats://a:1, tls://b", "nats_servers", ("nats://a:1", "tls://b")),
        ("IPS_NATS_URL", "nats://u:p@[::1]:1", "nats_servers", ("nats://u:p@[::1]:1",)),
        ("IPS_NATS_TOKEN", "s3cret\n", "nats_token", "s3cret"),
        ("IPS_NATS_CREDS", "/a/b.creds", "nats_creds", Path("/a/b.creds")),
        ("IPS_NATS_LISTEN", "192.0.2.1:0", "nats_listen", Listen("192.0.2.1", 0)),
        ("IPS_NATS_LISTEN", "localhost:-1", "nats_listen", Listen("localhost", 0)),
        ("IPS_NATS_LISTEN", "[::1]:4222", "nats_listen", Listen("[::1]", 4222)),
        ("IPS_NATS_LISTEN", "[::]:4222", "nats_listen", Listen("[::]", 4222)),
        ("IPS_NATS_LISTEN", "[0:0::0]:0", "nats_listen", Listen("[::]", 0)),
        ("IPS_NATS_LISTEN", "[2001:DB8::1]:1", "nats_listen", Listen("[2001:db8::1]", 1)),
        ("IPS_NATS_LISTEN", "[fe80::1%eth0]:1", "nats_listen", Listen("[fe80::1%eth0]", 1)),
        ("IPS_NATS_SERVER", "/opt/nats-server", "nats_server", Path("/opt/nats-server")),
        ("IPS_REPLICAS", "3", "replicas", 3),
        ("IPS_NODE_SOURCE", "Kubernetes", "node_source", NodeSourceName.KUBERNETES),
        ("IPS_MAX_NODES_IN_FLIGHT", "0", "max_nodes_in_flight", 0),
        ("IPS_AGENT_WAIT_SECONDS", "1.5", "agent_wait_seconds", 1.5),
        ("IPS_TASK_RETENTION_HOURS", "0.25", "task_retention_hours", 0.25),
        ("IPS_LOG_LEVEL", "DEBUG", "log_level", logging.DEBUG),
        ("IPS_LOG_FORMAT", "json", "log_format", LogFormat.JSON),
    ],
)
def test_coordinator_values(name: str, value: str, field: str, expected: object) -> None:
    """A value is read as it is meant; white space around it and an empty one mean nothing."""
    assert getattr(coordinator(**{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("IPS_NODE_NAME", "node-1.zone.example", "node_name", "node-1.zone.example"),
        ("IPS_NODE_LABELS", "a=b", "node_labels", {"a": "b"}),
        ("IPS_NODE_LABELS", "a=b, x.io/c=", "node_labels", {"a": "b", "x.io/c": ""}),
        ("IPS_RUNTIME", "simulated", "runtime", DriverName.SIMULATED),
        ("IPS_RUNTIME_ENDPOINT", "unix:///a.sock", "runtime_endpoint", "unix:///a.sock"),
        ("IPS_CRICTL", "/opt/crictl", "crictl", "/opt/crictl"),
        ("IPS_AGENT_METRICS_PORT", "0", "metrics_port", 0),
        ("IPS_SIMULATED_SECONDS", "0", "simulated_seconds", 0.0),
        ("IPS_SIMULATED_FAILURE_RATE", "0.5", "simulated_failure_rate", 0.5),
        ("IPS_SIMULATED_HOLD", "/srv/hold", "simulated_hold", Path("/srv/hold")),
    ],
)
def test_agent_values(name: str, value: str, field: str, expected: object) -> None:
    """An agent's values are read as they are meant."""
    assert getattr(agent(**{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("SERVER_PORT", bad)
            for bad in ("http", "-1", "65536", "80.0", "8_0", "\u0661", "1" * 99)
        ],
        *[("IPS_LISTEN", bad) for bad in ("*", "::", "[::1]:80", "host", "1.2.3", "127.0.0.1:80")],
        *[("IPS_AUTH", bad) for bad in ("basic", "none,tokens", ",", "tokens,")],
        *[
            ("IPS_PUBLIC_URL", bad)
            for bad in ("ips.example", "ftp://a", "https://a/b", "https://a?b", "https://u:p@a")
        ],
        *[("IPS_ROLES", bad) for bad in ("a", "a=root", "=view", "a=view,a=edit", "a=view,")],
        *[("IPS_OIDC_ISSUER", bad) for bad in ("issuer", "http://issuer.example", "https://[")],
        *[("K8S_NAMESPACE", bad) for bad in ("A", "a.b", "a_b", "a" * 64)],
        *[
            ("IPS_NATS_LISTEN", bad)
            for bad in ("4222", ":4222", "a:", "a:x", "::1:1", "a b:1", "a:-2")
        ],
        *[
            ("IPS_NATS_LISTEN", bad)
            for bad in ("[::]", "[]:1", "[1]:1", "[:::]:1", "[192.0.2.1]:1", "[::1%]:1", "x[::1]:1")
        ],
        *[("IPS_REPLICAS", bad) for bad in ("0", "2", "7", "one")],
        ("IPS_NODE_SOURCE", "nodes"),
        *[("IPS_MAX_CONCURRENT_TASKS", bad) for bad in ("0", "3.5", "many")],
        *[
            ("IPS_AGENT_WAIT_SECONDS", bad)
            for bad in ("0", "-1", "nan", "inf", "1e3", "1,5", "60s")
        ],
        ("IPS_LOG_LEVEL", "loud"),
        ("IPS_LOG_FORMAT", "xml"),
        ("IPS_DATA_DIR", "a\0b"),
        *[
            ("IPS_NATS_URL", bad)
            for bad in (
                "http://a",
                "nats://",
                "nats://a:x",
                "nats://a,",
                "nats://a/b",
                "nats://a:1:2",
            )
        ],
    ],
)
def test_bad_coordinator_values(name: str, value: str) -> None:
    """A bad value is named with its variable and with what is accepted."""
    [fault] = faults(CoordinatorSettings, {"HOME": "/", name: value})
    assert fault.startswith(f"{name}=")
    assert ": accepted is " in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("IPS_NODE_NAME", bad) for bad in ("Node", "a_b", "a..b", "-", "a" * 254)],
        *[
            ("IPS_NODE_LABELS", bad)
            for bad in ("a", "a=b,", "=b", "a=b,a=c", "a=b=c", "a=" + "b" * 64)
        ],
        *[("IPS_NODE_LABELS", bad) for bad in ("a b=c", "/a=b", "a=-")],
        ("IPS_NODE_LABELS", ",".join(f"k{number}=v" for number in range(MOST_LABELS + 1))),
        *[("IPS_RUNTIME", bad) for bad in ("docker", "cri crictl")],
        *[("IPS_RUNTIME_ENDPOINT", bad) for bad in ("/run/a.sock", "unix://a.sock", "tcp://h:1")],
        ("IPS_RUNTIME_ENDPOINT", "unix:///" + "\u00e4" * 54),
        ("IPS_AGENT_PARALLEL_PULLS", "0"),
        *[("IPS_SIMULATED_FAILURE_RATE", bad) for bad in ("1.1", "-0.1", "10%")],
    ],
)
def test_bad_agent_values(name: str, value: str) -> None:
    """An agent's bad values are named as well."""
    [fault] = faults(AgentSettings, {**AGENT, "HOME": "/", name: value})
    assert fault.startswith(f"{name}=")
    assert ": accepted is " in fault


def test_a_node_has_as_many_labels_as_a_heartbeat_takes() -> None:
    """One more is a fault of the setting, whose message does not repeat them all."""
    labels = ",".join(f"k{number}=v" for number in range(MOST_LABELS))
    assert len(agent(IPS_NODE_LABELS=labels).node_labels) == MOST_LABELS
    [fault] = faults(AgentSettings, {**AGENT, "IPS_NODE_LABELS": f"{labels},one=more"})
    assert fault.startswith("IPS_NODE_LABELS='k0=v,k1=v,")
    assert f"at most {MOST_LABELS} of them" in fault
    assert len(fault) < 500


def test_exact_message() -> None:
    """A fault names the variable, the value, and what is accepted."""
    assert faults(CoordinatorSettings, {"HOME": "/", "SERVER_PORT": "http"}) == (
        "SERVER_PORT='http': accepted is a whole number from 0 to 65535 (0: any free port)",
    )


# ── secrets ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IPS_NATS_TOKEN", "s3cret s3cret"),
        ("IPS_NATS_URL", "http://user:s3cret@host"),
        ("IPS_NATS_URL", "nats://user:s3c/ret@host"),
        ("IPS_NATS_URL", "nats://user:s3cret@host:x"),
        ("IPS_NATS_URL", "nats://user:s3c@ret@host/x"),
        ("IPS_NATS_URL", "nats://a,nats://user:s3cret@b,nats://c:x"),
        ("IPS_NATS_URL", "nats://user:s3cret"),
        ("IPS_NATS_URL", "user:s3cret"),
        ("IPS_NATS_URL", "nats://a:1,nats://user:s3cret,nats://b"),
    ],
)
def test_secrets_in_faults(name: str, value: str) -> None:
    """No part of a password or token shows in a fault, however malformed its surroundings."""
    [fault] = faults(CoordinatorSettings, {"HOME": "/", name: value})
    assert fault.startswith(f"{name}=")
    assert "s3c" not in fault
    assert "ret" not in fault


def test_a_server_shows() -> None:
    """What is no secret of a bad URL shows."""
    [fault] = faults(CoordinatorSettings, {"HOME": "/", "IPS_NATS_URL": "nats://u:p@host:1/x"})
    assert fault.startswith("IPS_NATS_URL='***@host:1/x'")


def test_secrets_in_repr() -> None:
    """Settings can be logged."""
    shown = repr(coordinator(HOME="/", IPS_NATS_TOKEN="s3cret", IPS_NATS_URL="nats://u:s3cret@h"))
    assert "s3cret" not in shown
    assert "server_port=8080" in shown


# ── the environment as a whole ───────────────────────────────────────────────────────────────


def test_all_faults_at_once() -> None:
    """Every fault of an environment is named in one go."""
    environ = {
        "HOME": "/",
        "SERVER_PORT": "x",
        "IPS_LOG_LEVEL": "x",
        "IPS_NATS_LISTENS": "x",
        "IPS_WHATEVER": "",
        "IPS_NATS_TOKEN": "a",
        "IPS_NATS_TOKEN_FILE": "b",
    }
    assert [fault.split("=")[0] for fault in faults(CoordinatorSettings, environ)] == [
        "IPS_NATS_LISTENS is no setting; did you mean IPS_NATS_LISTEN?",
        "IPS_WHATEVER is no setting",
        "IPS_NATS_TOKEN and IPS_NATS_TOKEN_FILE are both set: leave one of them out",
        "IPS_LOG_LEVEL",
        "SERVER_PORT",
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_names_of_others(program: type[ProgramSettings]) -> None:
    """A program accepts the others' names, whatever their values, and those of tests."""
    own = {declaration.name for declaration in program.declarations().values()}
    others = {name: "?" for names in NAMES.values() for name in names if name not in own}
    assert others.keys() >= {"IPS_SERVER", "IPS_TOKEN", "IPS_TOKEN_FILE"}
    program.load(
        {"HOME": "/", **AGENT, **others, "IPS_TEST_CRICTL": "?", "PATH": "?", "IPSILON": "?"}
    )


@pytest.mark.parametrize(
    ("program", "names"), [(CoordinatorSettings, "coordinator"), (AgentSettings, "agent")]
)
def test_names_are_those_declared(program: type[ProgramSettings], names: str) -> None:
    """The list of names that programs know of one another is that of the declarations."""
    declared = [declaration.name for declaration in program.declarations().values()]
    assert sorted(declared) == sorted(NAMES["common"] + NAMES[names])


SERVICE_LINKS = {
    "IPS_NATS_SERVICE_HOST": "10.0.0.1",
    "IPS_NATS_SERVICE_PORT": "4222",
    "IPS_NATS_SERVICE_PORT_CLIENT": "4222",
    "IPS_NATS_PORT": "tcp://10.0.0.1:4222",
    "IPS_NATS_PORT_4222_TCP": "tcp://10.0.0.1:4222",
    "IPS_NATS_PORT_4222_TCP_PROTO": "tcp",
    "IPS_NATS_PORT_4222_TCP_PORT": "4222",
    "IPS_NATS_PORT_4222_TCP_ADDR": "10.0.0.1",
    "IPS_SERVICE_HOST": "10.0.0.1",
    "IPS_PORT": "tcp://10.0.0.1:8080",
}


def test_service_links() -> None:
    """What Kubernetes made for Services is told apart from misspelt settings, in one fault."""
    [fault] = faults(CoordinatorSettings, {"HOME": "/", **SERVICE_LINKS})
    assert all(name in fault for name in SERVICE_LINKS)
    assert fault.count("enableServiceLinks: false") == 1


@pytest.mark.parametrize("name", ["SERVER_PORT", "IPS_AGENT_METRICS_PORT"])
def test_service_link_over_a_setting(name: str) -> None:
    """A Service whose variable falls on a setting gets the same hint."""
    program = CoordinatorSettings if name == "SERVER_PORT" else AgentSettings
    [fault] = faults(program, {"HOME": "/", **AGENT, name: "tcp://10.0.0.1:80"})
    assert "enableServiceLinks: false" in fault


def test_a_port_of_ones_own() -> None:
    """A misspelt port is not taken for a Service's."""
    [fault] = faults(CoordinatorSettings, {"HOME": "/", "IPS_METRICS_PORT": "9101"})
    assert fault == "IPS_METRICS_PORT is no setting; did you mean IPS_AGENT_METRICS_PORT?"


VALUES = st.one_of(
    st.text(),
    st.sampled_from(
        [
            *(
                "nats://[",
                "nats://[::1",
                "nats://a:" + "9" * 5000,
                "nats://\u2100",
                "unix://",
                "1" * 400,
            ),
            *("a=b,=", "\udcff", "[", "host:" + "9" * 400, "\0", "\u0661", "1.", ".", "-", "nan"),
        ]
    ),
)


@pytest.mark.parametrize("program", PROGRAMS)
@given(data=st.data())
def test_any_environment(program: type[ProgramSettings], data: st.DataObject) -> None:
    """Any environment is read or refused in one line; no value raises anything else."""
    names = st.sampled_from([declared.name for declared in program.declarations().values()])
    environ = data.draw(st.dictionaries(names | st.just("IPS_X"), VALUES))
    try:
        program.load({"HOME": "/", **environ})
    except SettingsError as error:
        refusal = error
    else:
        return
    assert refusal.faults
    assert len(str(refusal).splitlines()) == 1


@given(st.integers(-(10**6), 10**6))
@example(65535)
@example(65536)
def test_ports(port: int) -> None:
    """Just the ports of TCP are ports."""
    environ: dict[str, Any] = {"HOME": "/", "SERVER_PORT": str(port)}
    if 0 <= port <= 65535:
        assert coordinator(**environ).server_port == port
    else:
        faults(CoordinatorSettings, environ)


def test_start_with_bad_settings() -> None:
    """A program with bad settings says so in one line and ends with code 2."""
    code = (
        "import os, sys\n"
        "from common.lifecycle import run\n"
        "from coordinator.settings import CoordinatorSettings\n"
        "async def main(stop): CoordinatorSettings.load(os.environ)\n"
        "sys.exit(run(main))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"HOME": "/", "SERVER_PORT": "http", "IPS_X": "\udcff"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"cannot start: IPS_X is no setting; SERVER_PORT='http': .*\n", done.stderr)
