"""The components of ``deploy/`` that are about who may do what, as kubectl builds them."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

import pytest
import yaml

from coordinator.settings import CoordinatorSettings
from tests.fixtures.kubernetes import Kube
from tests.kubernetes.manifests import DEPLOY, Json, one, pod_specs
from tests.kubernetes.test_two_installations import built, customized

pytestmark = pytest.mark.kubernetes


def with_component(folder: Path, name: str, **wanted: str) -> Path:
    """A kustomization of ``deploy/`` with a component."""
    component = os.path.relpath(DEPLOY / "components" / name, folder / "mine")
    return customized(folder / "mine", ".", components=[component], **wanted)


def secret_of(spec: Json, volume: str) -> str:
    """Which Secret a pod's volume shows."""
    [found] = [each for each in spec["volumes"] if each["name"] == volume]
    if "secret" in found:
        return str(found["secret"]["secretName"])
    [name] = [s["secret"]["name"] for s in found["projected"]["sources"] if "secret" in s]
    return str(name)


@pytest.mark.parametrize("prefix", ["", "b-"])
def test_with_cert_manager_everybody_takes_its_secret(tmp_path: Path, prefix: str) -> None:
    """Servers their certificate, coordinators and agents whom to trust; no other is made."""
    objects = built(with_component(tmp_path, "cert-manager", namePrefix=prefix))
    certificate = one(objects, "Certificate", f"{prefix}ips-nats-tls")
    secret = certificate["spec"]["secretName"]
    assert secret == f"{prefix}ips-nats-tls"
    assert certificate["spec"]["dnsNames"][0] == f"{prefix}ips-nats"
    specs = pod_specs(objects)
    assert secret_of(specs[f"StatefulSet/{prefix}ips-nats"], "tls") == secret
    assert secret_of(specs[f"DaemonSet/{prefix}ips-agent"], "nats") == secret
    coordinator = specs[f"Deployment/{prefix}ips-coordinator"]
    assert secret_of(coordinator, "nats-ca") == secret
    [container] = coordinator["containers"]
    names = {each["name"] for each in container["env"]}
    assert "IPS_NATS_CA_SECRET" not in names
    said = {name: "some-name" for name in names if name.startswith("IPS_")}
    settings = CoordinatorSettings.load(said | {"IPS_NATS_CA": "/etc/ips/nats/ca.crt"})
    assert settings.nats_ca == Path(container["volumeMounts"][0]["mountPath"], "ca.crt")
    issuers = {o["metadata"]["name"] for o in objects if o["kind"] == "Issuer"}
    wanted = {o["spec"]["issuerRef"]["name"] for o in objects if o["kind"] == "Certificate"}
    assert wanted == issuers


def test_where_nobody_is_asked_there_is_no_way_in_from_outside(tmp_path: Path) -> None:
    """The Ingress goes with the question who asks."""
    objects = built(with_component(tmp_path, "open", namespace="tools"))
    assert "Ingress" not in {item["kind"] for item in objects}
    assert one(objects, "ConfigMap", "ips-coordinator")["data"]["IPS_AUTH"] == "none"


@pytest.mark.parametrize("overlay", [".", "overlays/single"])
def test_the_key_of_credentials_is_where_the_setting_says(tmp_path: Path, overlay: str) -> None:
    """In each coordinator, for its user alone, and in no other pod."""
    component = os.path.relpath(DEPLOY / "components/credentials", tmp_path / "mine")
    objects = built(customized(tmp_path / "mine", overlay, components=[component]))
    [said] = [
        each["data"]["IPS_CREDENTIALS_KEY_FILE"]
        for each in objects
        if each["kind"] == "ConfigMap" and "IPS_CREDENTIALS_KEY_FILE" in each["data"]
    ]
    shown = {}
    for name, spec in pod_specs(objects).items():
        for volume in spec.get("volumes", []):
            if volume.get("secret", {}).get("secretName") == "ips-credentials-key":
                [container] = spec["containers"]
                [mount] = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
                assert (volume["secret"]["defaultMode"], mount["readOnly"]) == (0o400, True)
                shown[name] = Path(mount["mountPath"], volume["secret"]["items"][0]["path"])
    assert list(shown.values()) == [Path(said)]
    assert all("coordinator" in name for name in shown)


def test_before_1_30_pods_are_asked_for_their_nodes(tmp_path: Path) -> None:
    """In the namespace alone."""
    role = one(built(with_component(tmp_path, "before-1.30")), "Role", "ips-coordinator")
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]} in role["rules"]


@pytest.mark.usefixtures("namespace")
def test_mounts_below_the_nodes_folders_can_be_read_only_too(kube: Kube, tmp_path: Path) -> None:
    """The API server takes it, with strict validation."""
    folder = with_component(tmp_path, "recursive-read-only")
    kube.kubectl("apply", "-k", folder, "--validate=strict", "--dry-run=server")
    [agent] = pod_specs(built(folder))["DaemonSet/ips-agent"]["containers"]
    recursive = {m["name"] for m in agent["volumeMounts"] if "recursiveReadOnly" in m}
    assert recursive == {"runtime", "images"}


@pytest.mark.parametrize("order", [("monitoring", "limits"), ("limits", "monitoring")])
def test_where_a_quota_demands_it_every_container_has_a_limit(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    """Whatever else is in the pod, and in whichever order."""
    components = [os.path.relpath(DEPLOY / "components" / each, tmp_path / "a") for each in order]
    for name, spec in pod_specs(
        built(customized(tmp_path / "a", ".", components=components))
    ).items():
        for container in spec["containers"]:
            assert "cpu" in container["resources"]["limits"], (name, container["name"])


def test_whatever_is_changed_by_its_place_is_what_was_meant() -> None:
    """A patch by number says first whose number it is, so that another order is an error."""
    counted = re.compile(r".*?/(?:volumes|volumeMounts)/\d+(?=/)|.*?/containers/\d+(?=/resources)")
    for file in (DEPLOY / "components").glob("*/kustomization.yaml"):
        for patch in yaml.safe_load(file.read_text()).get("patches", []):
            operations = yaml.safe_load(patch.get("patch", "[]"))
            if not isinstance(operations, list):
                continue
            tested = {each["path"] for each in operations if each["op"] == "test"}
            for each in operations:
                if found := counted.match(each["path"]):
                    assert f"{found[0]}/name" in tested, (file.parent.name, each["path"])


def test_whoever_may_ask_for_names_may_do_so_where_openshift_answers() -> None:
    """Its pods of DNS listen at another port than its Service, and policies are about pods."""
    policies = [item for item in built(DEPLOY) if item["kind"] == "NetworkPolicy"]
    asking = [
        {port["port"] for port in rule["ports"]}
        for policy in policies
        for rule in policy["spec"].get("egress", [])
        if any(port["port"] == 53 for port in rule.get("ports", []))
    ]
    assert asking == [{53, 5353}] * 3


def test_every_secret_that_is_mounted_is_for_its_owner_alone() -> None:
    """0400, in every pod."""
    for name, spec in pod_specs(built(DEPLOY)).items():
        for volume in spec.get("volumes", []):
            shown = volume.get("secret") or volume.get("projected")
            if shown is not None:
                assert shown["defaultMode"] == 0o400, (name, volume["name"])
