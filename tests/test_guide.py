"""The user's guide, executed: every call, snippet, file and one-liner of docs/GUIDE.zh.md against a live server.

The blocks are read from the guide itself; what a test changes in one (a placeholder key, a name that the guide leaves
undefined) it says. `test_every_block_of_the_guide_is_executed` fails when the guide grows a block that nobody runs.
"""

import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import textwrap
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from scheduler_service.settings import PROJECT_ROOT
from tests import preloaded
from tests.conftest import LiveService, live_service
from tests.waiting import HANG_S

GUIDE = PROJECT_ROOT / "docs" / "GUIDE.zh.md"
ORIGINAL = PROJECT_ROOT.parent / "shared" / "GUIDE.zh.md"
SEEDS = PROJECT_ROOT / "models" / "seed"
PLACEHOLDERS = {"DDQN_12345678_v1.0": "_v1.0.0", "DDQN_87654321_v2.0": "_v2.0.0"}
EXECUTED: set[int] = set()


@dataclass(frozen=True)
class Block:
    number: int
    language: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^([ ]*)```(\w+)\n(.*?)^[ ]*```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(number, language, textwrap.dedent(text)) for number, (_, language, text) in enumerate(found, start=1)]


BLOCKS = blocks()


def block(containing: str) -> str:
    """The text of the one block that contains this; it counts as executed."""
    (found,) = [each for each in BLOCKS if containing in each.text]
    EXECUTED.add(found.number)
    return found.text


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    headers: dict[str, str]
    body: object

    def __call__(self, service: LiveService):
        """Send it as it is written."""
        data = None if self.body is None else json.dumps(self.body, ensure_ascii=False).encode()
        return service.session.request(
            self.method, service.url + self.path, data=data, headers=self.headers, timeout=HANG_S
        )


def call(containing: str) -> Call:
    """The HTTP call that a block writes down."""
    head, _, body = block(containing).partition("\n\n")
    request_line, *header_lines = head.strip().splitlines()
    method, path = request_line.split(" ")
    headers = dict(line.split(": ") for line in header_lines)
    return Call(method, path, headers, json.loads(body) if body.strip() else None)


@pytest.fixture(scope="module")
def guide(tmp_path_factory) -> LiveService:
    """The guide's own server, started by its own command in its own folders."""
    home = tmp_path_factory.mktemp("guide")
    setup = block("mkdir -p")
    subprocess.run(["bash", "-euc", re.sub(r"^pip.*$", "", setup, flags=re.MULTILINE)], cwd=home, check=True)
    assert (home / "models" / "metadata").is_dir()
    command = re.search(r"^python (\S+)$", block("python enhanced_flask.py"), re.MULTILINE)
    assert command is not None
    assert command[1] == "enhanced_flask.py"
    shutil.copy(SEEDS / "ddqn_v2.pth", home / "best_model_v2.pth")
    shutil.copy(SEEDS / "ddqn_v1.pth", home / "trained_model.pth")
    with live_service(home) as running:
        yield running


def real_key(service: LiveService, suffix: str) -> str:
    models = service.get("/models").json()["models"]
    return next(model["model_key"] for model in models if model["model_key"].endswith(suffix))


def python(guide: LiveService, *snippets: str, before: str = "", after: str = "") -> dict:
    """Run snippets of the guide, in one namespace, as a person in the project's folder would; what `after` prints."""
    preamble = """
        import logging, json
        from datetime import datetime, timedelta
        from ab_testing import ABTestManager
        from model_manager import ModelVersionManager
        from monitoring import ABTestAnalyzer, PerformanceMonitor

        model_manager, ab_manager = ModelVersionManager(), ABTestManager()
        monitor, analyzer = PerformanceMonitor(), ABTestAnalyzer(PerformanceMonitor())
        logger = logging.getLogger("guide")
        collected = {}
    """
    parts = [textwrap.dedent(preamble), textwrap.dedent(before), *snippets, textwrap.dedent(after)]
    script = "\n".join([*parts, 'print("\\n" + json.dumps(collected))'])
    ended = subprocess.run(
        [preloaded.python(), "-c", script],
        cwd=guide.home,
        env=os.environ | {"SCHED_HOME": str(guide.home), "PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ended.returncode == 0, ended.stderr[-3_000:]
    *printed, last = ended.stdout.strip().splitlines()
    return json.loads(last) | {"printed": "\n".join(printed)}


# --- 快速开始 ---


def test_our_copy_of_the_guide_is_the_users():
    if not ORIGINAL.exists():
        pytest.skip(f"{ORIGINAL} is not here")
    assert GUIDE.read_bytes() == ORIGINAL.read_bytes()


def test_the_packages_of_the_guide_are_installed():
    line = re.search(r"pip install (.*)", block("pip install"))
    assert line is not None
    for name in line[1].split():
        assert importlib.util.find_spec(name), name


def test_the_service_is_up(guide):
    assert guide.get("/health").json()["status"] == "healthy"


# --- API接口文档 ---


def test_register_a_model(guide):
    answer = call("POST /models/register")(guide)
    assert answer.status_code == 201, answer.text
    key = answer.json()["model_key"]
    assert re.fullmatch(r"DDQN_[0-9a-f]{8}_v\d+\.\d+\.\d+", key)
    record = guide.get(f"/models/{key}").json()["model"]
    assert record["training_params"] == {"episodes": 1000, "learning_rate": 0.001, "batch_size": 32}
    assert record["performance"] == {"makespan": 42.5, "resource_utilization": 0.87}
    assert (record["description"], record["created_by"]) == ("改进奖励函数的DDQN模型", "developer_name")


def test_list_the_models(guide):
    answer = call("GET /models?algorithm=DDQN")(guide)
    assert answer.status_code == 200
    assert answer.json()["total"] >= 2


def test_create_the_experiment_run_it_and_read_its_results(guide):
    create = call('"experiment_name": "ddqn_v1_vs_v2"')
    for arm in ("model_a", "model_b"):
        create.body[arm] = real_key(guide, PLACEHOLDERS[create.body[arm]])  # the guide's keys are placeholders
    assert create(guide).status_code == 201

    run = call("POST /run_algorithm")
    answers = [run(guide)]
    for number in range(20):
        run.body["user_id"] = f"user_{number}"
        answers.append(run(guide))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["experiment_info"]["reason"] for answer in answers} == {"assigned"}
    assert answers[0].json()["experiment_info"]["user_id"] == "user_12345"
    assert answers[0].json()["performance"]["makespan"] < 60

    results = call("GET /experiments/ddqn_v1_vs_v2/results")(guide).json()["results"]
    assert sum(results["total_requests"].values()) == 21
    assert set(results["average_metrics"]) == {"model_a", "model_b"}
    assert results["is_significant"] is False, "fewer than 100 samples"


# --- 配置说明 ---


def test_the_settings_of_the_registry_are_those_of_the_guide():
    import model_manager

    written: dict = {}
    exec(block("MODEL_BASE_PATH ="), written)
    for name in ("MODEL_BASE_PATH", "METADATA_RETENTION_DAYS", "AUTO_CLEANUP_ENABLED"):
        assert getattr(model_manager, name) == written[name]


def test_the_configuration_file_is_understood(guide):
    config = guide.home / "ab_test_config.json"
    before = config.read_text("utf-8")
    comment, _, text = block("// ab_test_config.json").partition("\n")
    assert comment.startswith("//")  # the guide's way to name the file; JSON has no comments
    config.write_text(text, encoding="utf-8")
    try:
        assert guide.get("/health").status_code == 200
        experiment = guide.get("/experiments/ddqn_v1_vs_v2").json()["experiment"]
        assert experiment["traffic_split"] == {"model_a": 0.7, "model_b": 0.3}
        assert experiment["status"] == "completed", "its seven days ended in January 2024"
        body = guide.run(params=json.loads(text_of_run())["params"], experiment="ddqn_v1_vs_v2")["experiment_info"]
        assert body["reason"] == "experiment_not_active"
        assert body["model_used"] == real_key(guide, "_v1.0.0"), "the file's default model"
    finally:
        time.sleep(0.01)
        config.write_text(before, encoding="utf-8")


def text_of_run() -> str:
    return block("POST /run_algorithm").partition("\n\n")[2]


# --- 监控和报告 ---


def test_both_reports_are_made(guide):
    result = python(guide, block("monitor.generate_performance_report"), block("analyzer.generate_ab_test_report"),
                  after="collected |= {'performance': report_path, 'ab': ab_report}")  # fmt: skip
    for path in (result["performance"], result["ab"]):
        page = Path(path)
        assert page.parent == guide.home / "reports"
        assert "<html" in page.read_text("utf-8")
        assert guide.get(f"/reports/{page.name}").status_code == 200
    assert f"报告生成: {result['performance']}" in result["printed"]
    assert f"A/B测试报告: {result['ab']}" in result["printed"]


# --- 最佳实践 ---


def test_the_release_process_from_training_to_production(guide):
    """The placeholders such as `training_config` are filled in; the literal model names are created as tags."""
    result = python(
        guide,
        block("训练完成后注册模型"),
        block("提升模型状态"),
        "new = model_manager.resolve('DDQN:latest')\n"
        "model_manager.tag_model('current_production_model', 'DDQN_v2.0')\n"
        "model_manager.tag_model('new_candidate_model', new)\n"
        "model_manager.tag_model('new_model', new)\n"
        "model_manager.promote_model(new, 'validated')",
        block("production_test"),
        block("experiment_results["),
        before="""
            training_config, validation_results = {"episodes": 500}, {"makespan": 54.0}
            experiment_results, improvement = {"is_significant": True}, 6.5
            # The guide's v2.0 has just been registered; the shipped one may be deployed. Then v1.0 takes its place.
            if model_manager.get_model("DDQN_v2.0").status == "deployed":
                for status in ("validated", "deployed"):
                    if model_manager.get_model("DDQN_v1.0").status != "deployed":
                        model_manager.promote_model("DDQN_v1.0", status)
                model_manager.promote_model("DDQN_v1.0", "deployed")
                model_manager.promote_model("DDQN_v2.0", "retired")
        """,
        after="collected |= {'key': new, 'default': ab_manager.default_model}",
    )
    assert result["default"] == "new_model"
    assert guide.get(f"/models/{result['key']}").json()["model"]["status"] == "deployed"
    experiment = guide.get("/experiments/production_test").json()["experiment"]
    assert experiment["traffic_split"] == {"model_a": 0.9, "model_b": 0.1}
    answer = guide.run(params=json.loads(text_of_run())["params"])
    assert answer["experiment_info"]["model_used"] == result["key"], "the service follows the new default at once"


def test_the_alerts_are_sent_when_thresholds_are_passed(guide):
    result = python(
        guide,
        block("def check_performance_alerts"),
        before="sent = []\nsend_alert = sent.append",
        after="""
            check_performance_alerts()
            quiet, sent[:] = list(sent), []
            PERFORMANCE_THRESHOLDS |= {"max_makespan": 1.0, "min_success_rate": 1.1}
            check_performance_alerts()
            collected |= {"quiet": quiet, "sent": sent}
        """,
    )
    assert result["quiet"] == []
    assert result["sent"] == ["性能告警: 平均完工时间超过阈值", "可用性告警: 成功率低于阈值"]


def test_the_thresholds_equal_those_of_the_guide():
    import monitoring

    written: dict = {}
    exec(block("PERFORMANCE_THRESHOLDS = {"), written)
    assert written["PERFORMANCE_THRESHOLDS"] == monitoring.PERFORMANCE_THRESHOLDS


def test_the_tags_of_the_guide_work(guide):
    text = GUIDE.read_text("utf-8")
    for tag in re.findall(r"^  - `(\w+)`:", text, re.MULTILINE):
        if tag == "canary":
            assert guide.put("/models/tags/canary", json={"model_key": "DDQN_v1.0"}).status_code == 200
        assert guide.get(f"/models/DDQN:{tag}").status_code == 200, tag


# --- 故障排除 ---


def test_a_model_that_does_not_load_is_diagnosed(guide):
    (guide.home / "broken.pth").write_bytes(b"not a model")
    loop = """
        for model_path in ("best_model_v2.pth", "missing.pth", "broken.pth"):
            logger.error = collected.setdefault(model_path, []).append
    """
    snippet = textwrap.indent(block("检查模型文件是否存在"), "    ")
    result = python(guide, textwrap.dedent(loop) + snippet, before="import torch")
    assert result["best_model_v2.pth"] == []
    assert result["missing.pth"][0] == "模型文件不存在: missing.pth"
    assert len(result["missing.pth"]) == 2, "and torch says the same"
    assert result["broken.pth"][0].startswith("模型加载错误")


def test_the_distribution_of_users_can_be_checked(guide):
    """The guide's `...` stands for more users."""
    snippet = block("检查哈希分布")
    assert '"user_2", ...]' in snippet
    result = python(
        guide,
        snippet.replace('"user_2", ...]', '"user_2", *(f"user_{n}" for n in range(3, 401))]'),
        before="ab_manager.create_experiment('experiment', 'DDQN_v1.0', 'DDQN_v2.0', {'model_a': 0.7, 'model_b': 0.3})",
        after="collected['distribution'] = distribution",
    )
    assert set(result["distribution"]) == {"DDQN_v1.0", "DDQN_v2.0"}
    assert sum(result["distribution"].values()) == 400
    assert abs(result["distribution"]["DDQN_v1.0"] - 280) < 40
    assert "流量分布" in result["printed"]


def test_the_log_can_be_followed_and_its_times_sorted(guide):
    guide.run(params=json.loads(text_of_run())["params"])
    tail, grep = (line for line in block("tail -f").splitlines() if line and not line.startswith("#"))
    guide.wait_for_log("算法执行完成")
    followed = subprocess.run(["timeout", "3", "bash", "-c", tail], cwd=guide.home, capture_output=True, text=True)
    assert "算法执行完成" in followed.stdout
    printed = subprocess.run(["bash", "-c", grep], cwd=guide.home, capture_output=True, text=True, check=True).stdout
    seconds = [float(line) for line in printed.splitlines()]
    assert len(seconds) >= 1
    assert seconds == sorted(seconds)
    assert all(0 < each < 60 for each in seconds)


# --- 扩展功能 ---


def test_the_spring_boot_client_gets_its_answer(guide):
    java = block("RestTemplate")
    path = re.search(r'modelServiceUrl \+ "(\S+)"', java)
    names = re.search(r"Map\.of\((.*?)\);", java, re.DOTALL)
    assert path is not None
    assert names is not None
    values = {"params": [float(value) for value in range(1, 16)], "experiment": "ddqn_v1_vs_v2", "userId": "u1"}
    request = {key: values[name] for key, name in re.findall(r'"(\w+)", (\w+)', names[1])}
    assert set(request) == {"params", "experiment", "user_id"}
    headers = {"Content-Type": "application/json", "Accept": "application/json, application/*+json"}
    answer = guide.session.post(guide.url + path[1], data=json.dumps(request), headers=headers, timeout=HANG_S)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")


def test_the_vue_component_gets_its_answer(guide):
    """With node the component itself runs, on a small axios of the test; otherwise the same call is sent."""
    script = block("axios.post")
    path = re.search(r"axios\.post\('(\S+)'", script)
    assert path is not None
    origin = {"Origin": "http://localhost:8080"}
    body = {
        "params": [10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5],
        "experiment": "ddqn_optimization_test",
        "user_id": 7,
    }
    answer = guide.post(path[1], json=body, headers=origin)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert {"result", "experiment_info"} <= set(answer.json())
    if shutil.which("node") is None:
        return
    component = script.replace("export default", "const component =")
    program = f"""
        const axios = {{ post: async (path, data) => {{
            const answer = await fetch({json.dumps(guide.url)} + path, {{
                method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: JSON.stringify(data) }});
            return {{ data: await answer.json() }};
        }} }};
        {component}
        const it = {{ inputParams: {json.dumps(body["params"])}, $store: {{ state: {{ user: {{ id: 7 }} }} }} }};
        component.methods.runAlgorithm.call(it).then(
            () => console.log(JSON.stringify([it.result.makespan, it.modelInfo.user_id])));
    """
    ended = subprocess.run(["node", "-e", program], capture_output=True, text=True, timeout=HANG_S)
    assert ended.returncode == 0, ended.stderr
    makespan, user_id = json.loads(ended.stdout)
    with closing(sqlite3.connect(guide.home / "logs" / "performance.db")) as database:
        recorded = database.execute("SELECT makespan FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    assert makespan == recorded[0]  # the component shows the recorded values
    assert user_id == "7"


def test_every_block_of_the_guide_is_executed(request):
    names = {item.name for item in request.session.items if item.fspath == request.node.fspath}
    if "test_the_vue_component_gets_its_answer" not in names or len(names) < 18:
        pytest.skip("only with the whole file")
    assert {each.number for each in BLOCKS} == EXECUTED, [each for each in BLOCKS if each.number not in EXECUTED]
