"""Every overlay, as kubectl builds it, sent to a real API server: with dry run and for real."""

from __future__ import annotations

import re

import pytest
import yaml

from agent.settings import AgentSettings
from common.settings import ProgramSettings
from coordinator.settings import CoordinatorSettings
from tests.fixtures.kubernetes import Kube
from tests.kubernetes.manifests import DEPLOY, OVERLAYS, Json, build, one, pod_specs

pytestmark = pytest.mark.kubernetes


@pytest.mark.usefixtures("no_namespace")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_applied_without_a_warning_and_says_all_that_is_so(
    kube: Kube, overlay: str
) -> None:
    """As it is, with strict validation; afterwards nothing differs, and it can be deleted."""
    folder = DEPLOY / overlay
    strict = ("--validate=strict", "--server-side", "--field-manager=admin")
    kube.kubectl("apply", "-k", DEPLOY / "namespace")
    kube.kubectl("apply", "-k", folder, *strict, "--dry-run=server")
    applied = kube.kubectl("apply", "-k", folder, "--validate=strict")
    assert len(applied.splitlines()) == len(build(overlay))
    assert kube.kubectl("diff", "-k", folder) == ""
    kube.kubectl("delete", "-k", folder, "--wait=false")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_of_an_overlay_is_one_that_its_program_knows(overlay: str) -> None:
    """A coordinator and an agent start with what their pods are given."""
    objects = build(overlay)
    programs: dict[str, type[ProgramSettings]] = {
        "Deployment/ips-coordinator": CoordinatorSettings,
        "DaemonSet/ips-agent": AgentSettings,
    }
    for workload, program in programs.items():
        [container] = pod_specs(objects)[workload]["containers"]
        maps = [source["configMapRef"]["name"] for source in container["envFrom"]]
        environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
        for name in maps:
            environ |= one(objects, "ConfigMap", name)["data"]
        for variable in container["env"]:
            # As the kubelet puts it together of variables that were named before.
            value = variable.get("value", "some-name")
            for name in re.findall(r"\$\((\w+)\)", value):
                value = value.replace(f"$({name})", environ[name])
            environ[variable["name"]] = value
        program.load(environ)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_told_of_services_by_its_environment(overlay: str) -> None:
    """Kubernetes would name them IPS_…, which stops the programs."""
    specs = pod_specs(build(overlay))
    assert {name: spec["enableServiceLinks"] for name, spec in specs.items()} == dict.fromkeys(
        specs, False
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_as_confined_as_it_can_be(overlay: str) -> None:
    """Read-only root, no capabilities, no way to more rights; only the agent is root."""
    for name, spec in pod_specs(build(overlay)).items():
        assert "hostNetwork" not in spec, name
        assert "hostPID" not in spec, name
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert not rights["allowPrivilegeEscalation"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
        assert spec["securityContext"].get("runAsNonRoot", False) is (name != "DaemonSet/ips-agent")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_grace_period_is_longer_than_a_stop_takes(overlay: str) -> None:
    """28 s to stop and close and 5 s before for the coordinator, 20 s for the agent."""
    specs = pod_specs(build(overlay))
    assert specs["Deployment/ips-coordinator"]["terminationGracePeriodSeconds"] > 28 + 5
    assert specs["DaemonSet/ips-agent"]["terminationGracePeriodSeconds"] > 23


def test_the_agent_sees_socket_and_images_where_each_runtime_has_them() -> None:
    """The endpoint lies in the mounted folder, and the disk of the images is mounted as it is."""
    images = {}
    for overlay in OVERLAYS:
        objects = build(overlay)
        spec = pod_specs(objects)["DaemonSet/ips-agent"]
        mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
        paths = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
        endpoint = one(objects, "ConfigMap", "ips-agent")["data"]["IPS_RUNTIME_ENDPOINT"]
        assert endpoint.startswith(f"unix://{mounts['runtime']}/"), overlay
        assert mounts["images"] == paths["images"], overlay
        images[overlay] = (paths["runtime"], paths["images"])
    assert images["overlays/k3s"] == (
        "/run/k3s/containerd",
        "/var/lib/rancher/k3s/agent/containerd",
    )
    assert images["overlays/crio"] == ("/run/crio", "/var/lib/containers")


def test_the_monitoring_component_is_yaml_that_names_ports_that_exist() -> None:
    """Its kinds are not known to a bare API server; what they point at is."""
    monitors = list(
        yaml.safe_load_all((DEPLOY / "components/monitoring/monitors.yaml").read_text())
    )
    objects = build(".")
    ports = {
        port["name"]
        for spec in pod_specs(objects).values()
        for container in spec["containers"]
        for port in container.get("ports", [])
    }
    services = {p["name"] for o in objects if o["kind"] == "Service" for p in o["spec"]["ports"]}
    wanted: list[Json] = [m["spec"] for m in monitors if m["kind"].endswith("Monitor")]
    assert [end["port"] for end in wanted[0]["endpoints"]] == ["http"]
    assert "http" in services
    assert [end["port"] for end in wanted[1]["podMetricsEndpoints"]] == ["metrics"]
    assert "metrics" in ports
