"""Every word of the alerts, in Chinese and in English."""

# ruff: noqa: E501  (sentences are not wrapped, so that they can be searched for)

from collections.abc import Mapping
from typing import Literal

Lang = Literal["zh", "en"]

RULES: Mapping[Lang, Mapping[str, tuple[str, str]]] = {
    "zh": {
        "max_makespan": (
            "平均完工时间超过阈值",
            "只统计一个标准周期的请求：核对各工序工时与团队人数；为请求增加 time_budget_ms；看性能报告中按规模的差距。",
        ),
        "max_makespan_rise": (
            "{subject} 个工作点的请求，完工时间比同规模以往更长（与下界之比）",
            "检查最近的模型变更、默认的优化时间与机器负荷；若客户端换了工序或团队人数，确认后可静默，或调高阈值。",
        ),
        "max_execution_time": (
            "执行时间超过阈值",
            "只计超出 time_budget_ms 的部分：减小请求的规模，或增加计算线程 SCHED_COMPUTE_THREADS；查看机器负荷与 /metrics 中的队列。",
        ),
        "min_success_rate": (
            "成功率低于阈值",
            "查看 /health 与 logs/flask_service.log 中的 ERROR；若刚换过模型，用 POST /models/rollback 回滚。",
        ),
        "model_failures": (
            "模型 {subject} 无法给出计划，已由其他模型代替：{reason}",
            "运行 python -m model_manager fsck；必要时重新注册该模型，或回滚。",
        ),
        "max_gap": (
            "{subject} 个工作点的请求，与下界的平均差距超过阈值",
            "检查最近的模型变更与机器负荷（默认的 20 毫秒是实际时间）；为请求增加 time_budget_ms。",
        ),
        "input_drift": (
            "请求的 {subject} 的分布与以往不同（PSI）",
            "核对是谁在发送请求、数据来源是否变化；用回放比较模型在新数据上的表现，必要时重新训练。",
        ),
        "silent_service": (
            "服务没有收到任何请求，而前几周的同一时段有（次）",
            "检查客户端的地址、网络与 /health；若停用是有意的，请静默 silent_service。",
        ),
        "min_free_disk_gib": (
            "磁盘剩余空间不足（GiB）",
            "清理 reports/ 与旧日志，或扩大磁盘；空间足够时再用 python -m monitoring vacuum --keep-days N 压缩数据库。用尽后请求会得到 503。",
        ),
        "experiment_aborted": (
            "实验 {subject} 已自动停止，所有用户回到默认模型：{reason}",
            "查看 GET /experiments/{subject}/results 与 A/B 报告；确认后用 conclude 结束它。",
        ),
        "experiment_arm_stopped": (
            "实验 {experiment} 的 {arm} 已自动停止，其用户改用默认模型，其余各组继续：{reason}",
            "查看 GET /experiments/{experiment}/results 与 A/B 报告；在查明原因之前，不要再让该模型参加实验。",
        ),
        "model_rolled_back": (
            "{subject} 的生产模型已自动回滚：{reason}",
            "查看 GET /models/history；在修复并重新验证之前，不要再部署该版本。",
        ),
    },
    "en": {
        "max_makespan": (
            "The mean makespan is above its threshold",
            "Only requests of one standard cycle count: check the hours of their steps and the headcounts; grant requests more time_budget_ms; see the gaps by size in the performance report.",
        ),
        "max_makespan_rise": (
            "Schedules of requests with {subject} work points are longer than those of that size were (over the lower bound)",
            "Look at the latest change of models, the default time to improve and the machine's load; if clients send other steps or headcounts, silence it or raise the threshold.",
        ),
        "max_execution_time": (
            "The execution time is above its threshold",
            "Only what goes beyond time_budget_ms counts: send smaller requests, or add compute threads (SCHED_COMPUTE_THREADS); look at the machine's load and the queues in /metrics.",
        ),
        "min_success_rate": (
            "The success rate is below its threshold",
            "Look at /health and at ERROR in logs/flask_service.log; if a model was changed lately, roll back with POST /models/rollback.",
        ),
        "model_failures": (
            "The model {subject} could not answer, and others stood in for it: {reason}",
            "Run python -m model_manager fsck; register the model again, or roll back.",
        ),
        "max_gap": (
            "The mean gap to the bound of requests with {subject} work points is above its threshold",
            "Look at the latest change of models and the machine's load (the default of 20 ms is wall-clock time); grant requests more time_budget_ms.",
        ),
        "input_drift": (
            "Requests are distributed by {subject} otherwise than before (PSI)",
            "Find out who sends them and whether their source has changed; compare the models on them by a replay, and train again if need be.",
        ),
        "silent_service": (
            "The service is asked nothing, though in the same hours of earlier weeks it was (times)",
            "Check the clients' address, the network and /health; if it is out of use on purpose, silence silent_service.",
        ),
        "min_free_disk_gib": (
            "The disk is nearly full (GiB free)",
            "Remove old reports and logs, or enlarge the disk; with room for two copies of the database, python -m monitoring vacuum --keep-days N makes it smaller. Once the disk is full, requests get 503.",
        ),
        "experiment_aborted": (
            "The experiment {subject} stopped itself, and everyone is back on the default model: {reason}",
            "See GET /experiments/{subject}/results and the A/B report; close it with conclude.",
        ),
        "experiment_arm_stopped": (
            "{arm} of the experiment {experiment} was stopped automatically; its users get the default model, the other arms go on: {reason}",
            "See GET /experiments/{experiment}/results and the A/B report; do not try that model again before the cause is known.",
        ),
        "model_rolled_back": (
            "The live model of {subject} was rolled back automatically: {reason}",
            "See GET /models/history; do not deploy that version again before it is mended and validated.",
        ),
    },
}
"""Rule -> what is wrong, and what to do about it."""

NOTICES: Mapping[Lang, Mapping[str, str]] = {
    "zh": {
        "warning": "[告警]",
        "critical": "[严重告警]",
        "info": "[通知]",
        "reminder": "[仍在告警]",
        "resolved": "[已恢复]",
        "test": "[测试]",
        "test_title": "这是一条测试消息",
        "test_text": "如果您看到它，告警可以送达。无需处理。",
        "figures": "当前值 {value}，阈值 {threshold}",
        "since": "开始于 {time}",
        "lasted": "开始于 {time}，结束于 {end}",
        "advice": "建议：{advice}",
        "requests": "最差的请求：{ids}",
        "handle": "告警编号 {id}；相关运行与日志：GET /alerts/{id}，或控制台“监控”页；确认：POST /alerts/{id}/acknowledge",
    },
    "en": {
        "warning": "[Warning]",
        "critical": "[Critical]",
        "info": "[Notice]",
        "reminder": "[Still firing]",
        "resolved": "[Resolved]",
        "test": "[Test]",
        "test_title": "This is a test message",
        "test_text": "If you read this, alerts arrive. There is nothing to do.",
        "figures": "Value {value}, threshold {threshold}",
        "since": "Since {time}",
        "lasted": "From {time} to {end}",
        "advice": "Advice: {advice}",
        "requests": "The worst requests: {ids}",
        "handle": "Alert {id}; its runs and log lines: GET /alerts/{id}, or the console's page Monitoring; acknowledge with POST /alerts/{id}/acknowledge",
    },
}
