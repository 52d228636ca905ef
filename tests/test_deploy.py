"""deploy/: image, compose file, manifests and unit are accepted by their tools, agree with the code, and serve.

No image is built here (no registry provides the base image); its command runs over exactly the files that the
Dockerfile copies, on a read-only file system. Prometheus and Grafana: test_deploy_prometheus.py.
"""

import fnmatch
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml

from scheduler_env import SAMPLE_PARAMS
from scheduler_service.settings import PROJECT_ROOT, Settings
from tests.conftest import live_service
from tests.waiting import HANG_S

DEPLOY = PROJECT_ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
TOOLS = Path(sys.executable).parent
SETTINGS = {f"SCHED_{name.upper()}" for name in Settings.model_fields}


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, **options)


# --- the Dockerfile ---


def instructions() -> list[tuple[str, str]]:
    """The instructions of deploy/Dockerfile in order, each in one line."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def of_last_stage(name: str) -> list[str]:
    found = instructions()
    begins = max(number for number, (each, _) in enumerate(found) if each == "FROM")
    return [arguments for each, arguments in found[begins:] if each == name]


def environment() -> dict[str, str]:
    return {
        name: value for line in of_last_stage("ENV") for name, value in (p.split("=", 1) for p in shlex.split(line))
    }


def context() -> list[str]:
    """The files known to git that .dockerignore lets into a build; the last matching rule decides."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=PROJECT_ROOT)
    assert listed.returncode == 0, listed.stderr
    rules = [
        rule
        for rule in (PROJECT_ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if rule and not rule.startswith("#")
    ]

    def is_sent(name: str) -> bool:
        sent = True
        for rule in rules:
            pattern = rule.lstrip("!")
            names = [name, *(str(parent) for parent in Path(name).parents if str(parent) != ".")]
            if any(fnmatch.fnmatch(each, pattern) or fnmatch.fnmatch(f"/{each}", f"/{pattern}") for each in names):
                sent = rule.startswith("!")
        return sent

    return [name for name in listed.stdout.splitlines() if is_sent(name)]


def copied(sources: list[str]) -> list[str]:
    """The files of the build context that a COPY of these sources copies."""

    def is_meant(name: str, source: str) -> bool:
        return name.startswith(f"{source}/") or (name.count("/") == source.count("/") and fnmatch.fnmatch(name, source))

    return [name for name in context() if any(is_meant(name, source) for source in sources)]


def test_hadolint_accepts_the_dockerfile():
    ended = run(TOOLS / "hadolint", DEPLOY / "Dockerfile")
    assert ended.returncode == 0, ended.stdout


def test_every_copied_file_is_in_the_context():
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from="):
            *sources, _ = arguments.split()
            for source in sources:
                assert copied([source]), f"COPY {source}: there is no such file in the build's context"


def test_the_context_holds_no_records_keys_or_caches():
    sent = context()
    assert "scheduler_env/kernel.py" in sent
    folders = {name.partition("/")[0] for name in sent}
    assert folders == {
        "ab_testing.py", "deploy", "enhanced_flask.py", "model_manager.py", "models", "monitoring.py",
        "requirements.txt", "scheduler_env", "scheduler_service",
    }  # fmt: skip
    assert [name for name in sent if name.startswith("deploy/")] == ["deploy/gunicorn.conf.py"]
    assert {name.split("/")[1] for name in sent if name.startswith("models/")} == {"seed", "baselines"}


def test_every_setting_of_the_image_exists():
    names = {name for name in environment() if name.startswith("SCHED_")}
    assert names
    assert names <= SETTINGS


def test_torch_is_installed_first_in_the_required_version():
    pinned = re.findall(r"^torch==.*$", (PROJECT_ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert len(pinned) == 1
    assert any("grep '^torch==' requirements.txt" in arguments for name, arguments in instructions() if name == "RUN")


READ_ONLY = """
mount --bind "$VENV" "$COPY/.venv"
mount --rbind "$COPY" "$ROOT"
mount -o remount,bind,ro "$ROOT"
cd "$ROOT"
exec "$@"
"""
"""Mounts the copy at the project's path for this process only, so that the compiled kernel is found."""


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A folder with the files that the last stage of the Dockerfile copies, including the compiled kernel."""
    if run("unshare", "--mount", "true").returncode != 0:
        pytest.skip("no mount namespace may be made here")
    folder = tmp_path_factory.mktemp("image")
    for arguments in of_last_stage("COPY"):
        *sources, target = arguments.split()
        if sources[0] == "--from=build":
            sources = [source.removeprefix("/opt/scheduler/") for source in sources[1:] if not source.endswith(".venv")]
        for name in copied(sources):
            place = folder / (Path(target) / Path(name).name if target.endswith("/") else name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_ROOT / name, place)
    shutil.copytree(PROJECT_ROOT / "scheduler_env" / "__pycache__", folder / "scheduler_env" / "__pycache__")
    (folder / ".venv").mkdir()
    return folder


def in_the_image(image: Path, *command: str) -> tuple[str, ...]:
    python = (f"VENV={Path(sys.prefix).resolve()}", f"COPY={image}", f"ROOT={PROJECT_ROOT}")
    return ("env", *python, "unshare", "--mount", "sh", "-euc", READ_ONLY, "sh", *command)


def documented_backups() -> dict[str, str]:
    """The backup commands of docs/operations.md by kind of deployment, as arguments of python."""
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text("utf-8")
    return dict(re.findall(r"^(systemd|Compose|Kubernetes) .*python (-m monitoring backup .*)$", text, re.MULTILINE))


def test_the_command_of_the_image_serves_from_the_copied_files(image, tmp_path):
    (tmp_path / "scratch").mkdir()
    gunicorn, *arguments = json.loads(of_last_stage("CMD")[-1])
    check = json.loads(of_last_stage("HEALTHCHECK")[0].partition("CMD ")[2])
    own = {name: value for name, value in environment().items() if name.startswith(("SCHED_", "PYTHON"))}
    own |= {"SCHED_HOME": str(tmp_path / "home"), "SCHED_PORT": "0", "SCHED_ANONYMOUS_SCOPES": "run,read"}
    own |= {"TMPDIR": str(tmp_path / "scratch"), "NUMBA_DEBUG_CACHE": "1"}
    command = in_the_image(image, str(TOOLS / gunicorn), *arguments)
    with live_service(tmp_path / "home", command=command, environment=own) as running:
        port = running.url.rpartition(":")[2]
        running.url = f"http://127.0.0.1:{port}"
        assert running.run(params=list(SAMPLE_PARAMS))["result"]["makespan"] == pytest.approx(52.87, abs=0.01)
        assert running.get("/health").status_code == 200
        assert check[0] == "python"
        healthy = run(sys.executable, *check[1:], env=os.environ | {"SCHED_PORT": port})
        assert healthy.returncode == 0, healthy.stderr
        assert set(documented_backups()) == {"systemd", "Compose", "Kubernetes"}
        for by, documented in documented_backups().items():
            there = documented.replace("/var/backups", str(tmp_path)).replace("/var/lib/scheduler", own["SCHED_HOME"])
            known = {} if by == "systemd" else {"SCHED_HOME": own["SCHED_HOME"]}
            command = in_the_image(image, sys.executable, *there.split())
            created = run(*command, env={"PATH": os.environ["PATH"]} | known)
            assert created.returncode == 0, created.stderr
            copy = Path(created.stdout.strip())
            assert copy.is_relative_to(tmp_path)
        restored = ("-m", "monitoring", "restore", str(copy), "--home", str(tmp_path / "home" / "restored"))
        assert run(*in_the_image(image, sys.executable, *restored)).returncode == 0
        assert running.stop() == 0
        output = running.output.read_text("utf-8", errors="replace")
        assert "data loaded from" in output
        assert "data saved to" not in output, "nothing was compiled again"
    assert run(sys.executable, *check[1:], env=os.environ | {"SCHED_PORT": port}).returncode != 0


FIRST_PROBLEM = """
import numba
from scheduler_env.kernel import compile_instance
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance
compile_instance(standard_instance(SAMPLE_PARAMS))
print(numba.config.CACHE_DIR)
"""


def test_a_kernel_beside_read_only_sources_is_shared_by_several_processes(image, tmp_path):
    own = os.environ | {"TMPDIR": str(tmp_path), "NUMBA_DEBUG_CACHE": "1"}
    command = in_the_image(image, sys.executable, "-c", FIRST_PROBLEM)
    started = [subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    folders = {output.splitlines()[-1] for output in outputs}
    assert len(folders) == 1
    (folder,) = folders
    assert Path(folder).parent.parent == tmp_path
    assert [path.name for path in Path(folder).parent.iterdir()] == [Path(folder).name], "no copy remains"


def test_machine_code_in_a_folder_of_another_user_is_not_loaded(image, tmp_path):
    planted = tmp_path / f"scheduler_env-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    own = os.environ | {"TMPDIR": str(tmp_path)}
    program = "import scheduler_env.compilation, numba; print(numba.config.CACHE_DIR)"
    ended = run(*in_the_image(image, sys.executable, "-c", program), env=own)
    assert ended.returncode == 0, ended.stderr
    assert planted not in Path(ended.stdout.strip()).parents
    assert list(planted.iterdir()) == []


# --- the front ---

FRONT = DEPLOY / "front" / "haproxy.cfg"


def presets() -> dict[str, str]:
    """The variables of the front's configuration, as shipped."""
    return dict(re.findall(r"presetenv (FRONT_\w+) +(\S+)", FRONT.read_text("utf-8")))


def hard_stop_s() -> int:
    """The time that the front may take to finish requests in progress."""
    (found,) = re.findall(r"hard-stop-after (\d+)s", FRONT.read_text("utf-8"))
    return int(found)


def seconds(duration: str) -> int:
    """The seconds of Compose's "2m0s"."""
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)s", duration)
    assert found is not None, duration
    return 60 * int(found[1] or 0) + int(found[2])


def test_haproxy_accepts_the_configuration_of_the_front():
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert haproxy is not None, "make debian-packages installs it; apt-get install haproxy"
    ended = run(haproxy, "-c", "-f", FRONT)
    assert (ended.returncode, ended.stderr) == (0, ""), "no warning"


def test_the_front_allows_the_longest_run_and_the_largest_body():
    shipped, fields = presets(), Settings.model_fields
    assert seconds(shipped["FRONT_ANSWER_TIMEOUT"]) * 1_000 >= 2 * fields["max_time_budget_ms"].default
    assert int(shipped["FRONT_MAX_BODY_BYTES"]) == fields["max_body_bytes"].default


# --- the compose file ---


@pytest.fixture(scope="module")
def composed(tmp_path_factory) -> dict[str, Any]:
    """deploy/compose.yaml as Docker Compose reads it, with both profiles."""
    return as_composed(tmp_path_factory.mktemp("compose"), "compose.yaml")


def as_composed(folder: Path, *files: str) -> dict[str, Any]:
    """Files of deploy/ as Docker Compose reads them together, in a copy."""
    shutil.copytree(DEPLOY, folder / "deploy")
    shutil.copy(DEPLOY / "scheduler.env.example", folder / "deploy" / "scheduler.env")
    named = [part for file in files for part in ("-f", folder / "deploy" / file)]
    ended = run(TOOLS / "docker-compose", *named, "--profile", "monitoring", "config", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "no warning"
    output: dict[str, Any] = json.loads(ended.stdout)
    return output


def test_compose_builds_the_dockerfile_and_mounts_the_volume_of_the_image(composed):
    service = composed["services"]["scheduler"]
    assert (Path(service["build"]["context"]) / service["build"]["dockerfile"]).is_file()
    assert (
        [volume["target"] for volume in service["volumes"]] == of_last_stage("VOLUME") == [environment()["SCHED_HOME"]]
    )
    assert set(service["environment"]) <= SETTINGS
    assert "ports" not in service, "clients come through the front"


def test_the_front_of_compose_has_its_configuration_and_the_services_address(composed):
    front, shipped = composed["services"]["front"], presets()
    (mount,) = front["volumes"]
    assert (Path(mount["source"]) / "haproxy.cfg").read_bytes() == FRONT.read_bytes()
    assert mount["target"] == "/usr/local/etc/haproxy", "the path that its image reads"
    assert shipped["FRONT_SERVICE"] == f"scheduler:{of_last_stage('EXPOSE')[0]}"
    assert [f":{port['target']}" for port in front["ports"]] == [shipped["FRONT_ADDRESS"]]
    assert seconds(front["stop_grace_period"]) > hard_stop_s()


def test_compose_publishes_on_loopback_only(composed):
    ports = [port for service in composed["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_compose_mounts_existing_files(composed):
    mounts = [mount for service in composed["services"].values() for mount in service.get("volumes", [])]
    bound = [mount for mount in mounts if mount["type"] == "bind"]
    assert len(bound) == 4
    for mount in bound:
        assert Path(mount["source"]).exists(), mount
        assert mount["read_only"], mount


def test_prometheus_of_compose_scrapes_the_service_with_its_key(composed):
    config = yaml.safe_load((DEPLOY / "prometheus" / "compose.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    usual = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    assert job["job_name"] == usual["job_name"], "the rules name it"
    assert job["dns_sd_configs"] == [{"names": ["scheduler"], "type": "A", "port": int(of_last_stage("EXPOSE")[0])}]
    (secret,) = composed["services"]["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret['source']}"
    if shutil.which("promtool") is not None:
        ended = run("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / "compose.yml")
        assert ended.returncode == 0, ended.stderr


def test_grafana_of_compose_finds_its_dashboard_and_its_prometheus(composed):
    mounts = {mount["target"]: Path(mount["source"]) for mount in composed["services"]["grafana"]["volumes"]}
    provisioning = mounts["/etc/grafana/provisioning"]
    provider = yaml.safe_load((provisioning / "dashboards" / "scheduler.yml").read_text("utf-8"))["providers"][0]
    folder = provider["options"]["path"]
    assert mounts[f"{folder}/dashboard.json"].read_bytes() == (DEPLOY / "grafana" / "dashboard.json").read_bytes()
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in composed["services"]


# --- the Kubernetes manifests ---


def manifest(kind: str, name: str = "scheduler") -> dict[str, Any]:
    (found,) = [each for each in map(loaded, KUBERNETES) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def loaded(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


def container() -> dict[str, Any]:
    found: dict[str, Any] = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_every_manifest_is_valid_and_has_no_unknown_field(path, version):
    kubernetes_validate.validate(loaded(path), version, strict=True)


def test_a_misspelt_field_is_found():
    broken = manifest("StatefulSet")
    broken["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_the_selectors_match_the_pod():
    labels = manifest("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert manifest("StatefulSet")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("StatefulSet")["spec"]["serviceName"] == manifest("Service")["metadata"]["name"]


def test_clients_reach_only_the_front_and_only_the_front_reaches_the_pod():
    deployment = manifest("Deployment", "front")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifest("Service", "front")["spec"]["selector"] == labels
    policy = manifest("NetworkPolicy", "front")["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert {"podSelector": {}} in policy["ingress"][0]["from"]
    service = manifest("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert {"podSelector": {"matchLabels": service}} in [to for rule in policy["egress"] for to in rule.get("to", [])]
    (admitted,) = manifest("NetworkPolicy")["spec"]["ingress"]
    assert [each["podSelector"]["matchLabels"] for each in admitted["from"] if "podSelector" in each] == [labels]


def test_the_front_of_kubernetes_has_its_configuration_and_enough_time_to_finish():
    pod = manifest("Deployment", "front")["spec"]["template"]["spec"]
    (front,) = pod["containers"]
    (port,) = front["ports"]
    shipped = presets()
    assert {each["name"] for each in front["env"]} <= set(shipped)
    assert shipped["FRONT_ADDRESS"] == f":{port['containerPort']}"
    (where,) = [each["value"] for each in front["env"] if each["name"] == "FRONT_SERVICE"]
    assert where.startswith(f"{manifest('Service')['metadata']['name']}.")
    assert where.endswith(f":{manifest('Service')['spec']['ports'][0]['port']}")
    before_s = int(front["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before_s + hard_stop_s()
    (volume,) = pod["volumes"]
    install = (DEPLOY / "kubernetes" / "settings.yaml").read_text("utf-8")
    assert f"create configmap {volume['configMap']['name']} --from-file=deploy/front/haproxy.cfg" in install


def test_a_single_pod_uses_the_volume():
    spec = manifest("StatefulSet")["spec"]
    assert spec["replicas"] == 1, "the records are in SQLite"
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["home"]
    assert {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]} == {
        "home": environment()["SCHED_HOME"],
        "scratch": environment()["HOME"],
    }


def test_the_pod_runs_as_the_user_of_the_image():
    context = manifest("StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == of_last_stage("USER")[0]
    assert context["fsGroup"] == context["runAsGroup"]


def test_the_probes_use_a_route_without_a_key_on_the_served_port(tmp_path):
    (port,) = container()["ports"]
    assert str(port["containerPort"]) == of_last_stage("EXPOSE")[0] == environment()["SCHED_PORT"]
    probes = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    with live_service(tmp_path, environment={"SCHED_HOST": environment()["SCHED_HOST"]}) as running:
        assert running.get("/models").status_code == 401
        for probe in probes.values():
            assert running.get(probe["path"]).status_code == 200


def test_a_pod_has_enough_time_to_finish_requests_in_progress():
    from scheduler_service.http.server.serving import DRAIN_S

    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    before_s = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before_s + DRAIN_S


def test_the_config_map_and_the_example_secret_name_existing_settings():
    variables = manifest("ConfigMap")["data"]
    assert set(variables) - {"TZ"} <= SETTINGS
    Settings(**{name.removeprefix("SCHED_").lower(): value for name, value in variables.items() if name != "TZ"})
    example = (DEPLOY / "scheduler.env.example").read_text("utf-8")
    named = re.findall(r"^(?:# )?(SCHED_\w+)=", example, re.MULTILINE)
    assert len(named) >= 4
    assert set(named) <= SETTINGS


# --- the unit ---


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "scheduler.service"
    text = (DEPLOY / "scheduler.service").read_text("utf-8")
    unit.write_text(text.replace("/opt/scheduler/.venv/bin", str(TOOLS)))
    ended = run("systemd-analyze", "verify", unit)
    assert (ended.returncode, ended.stderr) == (0, "")


@needs_systemd
def test_the_unit_is_sandboxed():
    ended = run("systemd-analyze", "security", "--offline=true", "--threshold=20", DEPLOY / "scheduler.service")
    assert ended.returncode == 0, ended.stdout[-300:]


def test_the_unit_starts_the_same_command_as_the_image():
    text = (DEPLOY / "scheduler.service").read_text("utf-8")
    (started,) = re.findall(r"^ExecStart=/opt/scheduler/\.venv/bin/(.*)$", text, re.MULTILINE)
    assert started.split() == json.loads(of_last_stage("CMD")[-1])
    assert set(re.findall(r"SCHED_\w+", text)) <= SETTINGS


# --- installation ---


@pytest.fixture
def installing():
    """The module deploy/install.py."""
    spec = importlib.util.spec_from_file_location("install", DEPLOY / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_of_pip_is_passed_to_uv(installing):
    configured = {
        "index-url": ["https://mirror.example/simple"],
        "extra-index-url": ["https://a.example/simple", "https://b.example/simple"],
        "constraint": ["/etc/constraints.txt"],
        "timeout": ["180"],
    }
    text = " ".join(installing.options_for_uv(configured))
    assert "--default-index https://mirror.example/simple" in text
    assert "--index https://a.example/simple --index https://b.example/simple" in text
    assert "--constraints /etc/constraints.txt" in text
    assert "180" not in text
    assert "--no-index" not in text


def test_the_environment_and_the_files_of_pip_are_read(installing, monkeypatch, tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    configured = installing.configuration()
    assert configured["index-url"] == ["https://mirror.example/simple"]
    assert configured["find-links"][-2:] == ["/wheels", "/more"]


def test_pip_installs_what_uv_cannot(installing, monkeypatch):
    started: list[list[str]] = []
    monkeypatch.setattr(installing, "by_uv", lambda arguments: False)
    ended = SimpleNamespace(returncode=0)
    monkeypatch.setattr(installing, "subprocess", SimpleNamespace(run=lambda c, **_: started.append(c) or ended))
    assert installing.main(["-r", "requirements.txt"]) == 0
    assert started == [[*installing.PIP, "install", "--quiet", "-r", "requirements.txt"]]
