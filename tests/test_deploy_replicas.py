"""deploy/: the files for replicas over PostgreSQL are accepted by their tools, and agree with each other and code."""

import os
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from scheduler_service.database_url import parse_database_url
from scheduler_service.settings import PROJECT_ROOT, Settings
from tests.test_deploy import DEPLOY, SETTINGS, as_composed, loaded, manifest, of_last_stage, presets, run

MANIFESTS = sorted((DEPLOY / "kubernetes" / "replicas").glob("*.yaml"))


# --- Docker Compose ---


@pytest.fixture(scope="module")
def composed(tmp_path_factory) -> dict[str, Any]:
    return as_composed(tmp_path_factory.mktemp("compose"), "compose.yaml", "compose.replicas.yaml")


def test_replicas_of_compose_share_the_database_and_nothing_else(composed):
    service, database = composed["services"]["scheduler"], composed["services"]["database"]
    assert set(service["environment"]) <= SETTINGS
    assert str(service["deploy"]["replicas"]) == service["environment"]["SCHED_REPLICAS"]
    assert service["deploy"]["replicas"] <= int(presets()["FRONT_REPLICAS"])
    assert "volumes" not in service
    assert "ports" not in database


def test_replicas_of_compose_log_in_with_the_databases_user_and_password(composed):
    service, database = composed["services"]["scheduler"], composed["services"]["database"]
    url = parse_database_url(service["environment"]["SCHED_DATABASE_URL"])
    assert (url.user, url.name) == (database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"])
    assert url.hosts == (("database", 5432),)
    expected = {database["environment"]["POSTGRES_PASSWORD_FILE"]}
    assert {service["environment"]["SCHED_DATABASE_PASSWORD_FILE"]} == expected
    for each in (service, database):
        assert {secret["target"] for secret in each["secrets"]} == expected
    assert service["depends_on"]["database"]["condition"] == "service_healthy"


# --- Kubernetes ---


def of_replicas(kind: str) -> dict[str, Any]:
    (found,) = [each for each in map(loaded, MANIFESTS) if each["kind"] == kind]
    return found


def pod_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = of_replicas(kind)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: Path(path).name)
def test_every_manifest_is_valid_and_has_no_unknown_field(path, version):
    kubernetes_validate.validate(loaded(path), version, strict=True)


def test_the_selectors_match_the_pods_and_not_that_of_the_migration():
    labels = of_replicas("Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert of_replicas(kind)["spec"]["selector"]["matchLabels"] == labels
    assert of_replicas("Service")["spec"]["selector"] == labels
    migration = of_replicas("Job")["spec"]["template"]["metadata"]["labels"]
    assert migration != labels
    (admitted,) = of_replicas("NetworkPolicy")["spec"]["podSelector"]["matchExpressions"]
    assert admitted["values"] == [*labels.values(), *migration.values()]
    assert of_replicas("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "scheduler"


def test_a_pod_keeps_nothing_and_agrees_with_the_front_and_the_autoscaler():
    scaled, variables = of_replicas("HorizontalPodAutoscaler")["spec"], of_replicas("ConfigMap")["data"]
    assert "replicas" not in of_replicas("Deployment")["spec"], "the autoscaler's"
    volumes = pod_of("Deployment")["volumes"]
    assert {kind for volume in volumes for kind in volume} - {"name"} == {"emptyDir", "secret"}
    assert set(variables) - {"TZ"} <= SETTINGS
    Settings(**{name.removeprefix("SCHED_").lower(): value for name, value in variables.items() if name != "TZ"})
    assert int(variables["SCHED_REPLICAS"]) == scaled["minReplicas"]
    (front,) = manifest("Deployment", "front")["spec"]["template"]["spec"]["containers"]
    (seen,) = [each["value"] for each in front["env"] if each["name"] == "FRONT_REPLICAS"]
    assert scaled["maxReplicas"] <= int(seen)


def test_the_front_finds_each_pod_also_one_that_is_not_ready():
    service = of_replicas("Service")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["ports"] == manifest("Service")["spec"]["ports"]
    (container,) = pod_of("Deployment")["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_the_database_is_reachable_and_its_password_is_mounted():
    variables = of_replicas("ConfigMap")["data"]
    url = parse_database_url(variables["SCHED_DATABASE_URL"])
    opened = {port["port"] for rule in of_replicas("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}
    assert {port for _, port in url.hosts} <= opened
    for kind in ("Deployment", "Job"):
        (container,) = pod_of(kind)["containers"]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "database"]
        assert variables["SCHED_DATABASE_PASSWORD_FILE"] == f"{mount['mountPath']}/password"
        context = pod_of(kind)["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == of_last_stage("USER")[0]
    assert pod_of("Job")["containers"][0]["image"] == pod_of("Deployment")["containers"][0]["image"]


def test_a_pod_has_enough_time_to_finish_requests_in_progress():
    from scheduler_service.http.server.serving import DRAIN_S

    (container,) = pod_of("Deployment")["containers"]
    before_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod_of("Deployment")["terminationGracePeriodSeconds"] > before_s + DRAIN_S


def test_the_command_of_the_migration_creates_the_tables(postgresql, tmp_path):
    (container,) = pod_of("Job")["containers"]
    with postgresql.schema() as url:
        schema = url.parameters["options"].rpartition("=")[2]
        address = f"{postgresql.address}?options=-csearch_path%3D{schema}"
        variables = {"SCHED_HOME": str(tmp_path), "SCHED_DATABASE_URL": address}
        ended = run(sys.executable, *container["command"][1:], env=os.environ | variables, cwd=PROJECT_ROOT)
        assert ended.returncode == 0, ended.stderr
        tables = postgresql.execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
        assert {"runs", "leases", "reports"} <= {name for (name,) in tables}
