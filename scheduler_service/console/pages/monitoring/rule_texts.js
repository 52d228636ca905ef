// What each alert says and what to do about it, in both languages: the service answers in the one it was set to.
// The sentences are those of scheduler_service/alerts/texts.py, with the page's words where people click.
export const zhRules = {
  max_makespan: {
    name: "平均完工时间超过阈值",
    threshold: "平均完工时间（一个标准周期的请求）",
    advice: "只统计一个标准周期的请求：核对各工序工时与团队人数；为请求增加优化时间 time_budget_ms；看性能报告中按规模的差距。",
  },
  max_makespan_rise: {
    name: "{subject} 个工作点的请求，完工时间比同规模以往更长",
    title: "完工时间比同规模以往更长",
    threshold: "完工时间比同规模以往更长（与下界之比，各规模）",
    advice: "检查最近的模型变更、默认的优化时间与机器负荷；若客户端换了工序或团队人数，确认后可静默，或在下面调高阈值。",
  },
  max_execution_time: {
    name: "计算时间 P99 超过阈值",
    threshold: "计算时间 P99（超出所给时间的部分）",
    advice: "只计超出 time_budget_ms 的部分：减小请求的规模，或增加计算线程 SCHED_COMPUTE_THREADS；查看机器负荷与上面的排队数。",
  },
  min_success_rate: {
    name: "成功率低于阈值",
    threshold: "成功率",
    advice: "查看上面的服务状态与 logs/flask_service.log 中的 ERROR；若刚换过模型，到“模型”页回滚。",
  },
  model_failures: {
    name: "模型 {subject} 无法给出计划，已由其他模型代替",
    title: "模型无法给出计划",
    advice: "运行 python -m model_manager fsck；必要时重新注册该模型，或回滚。",
  },
  max_gap: {
    name: "{subject} 个工作点的请求，与下界的平均差距超过阈值",
    title: "与下界的平均差距超过阈值",
    of_size: "与下界的平均差距，{sizes} 个工作点",
    advice: "检查最近的模型变更与机器负荷（默认的 20 毫秒是实际时间）；为请求增加 time_budget_ms。",
  },
  input_drift: {
    name: "请求的{subject}分布与以往不同（PSI）",
    title: "请求的分布与以往不同（PSI）",
    threshold: "请求的分布与以往不同（PSI）",
    advice: "核对是谁在发送请求、数据来源是否变化；用回放比较模型在新数据上的表现，必要时重新训练。",
  },
  silent_service: {
    name: "服务没有收到请求，而前几周的同一时段有",
    title: "服务没有收到请求",
    threshold: "没有请求，而以往同时段多于（次）",
    advice: "检查客户端的地址、网络与上面的服务状态；若停用是有意的，请静默这条规则。",
  },
  min_free_disk_gib: {
    name: "磁盘剩余空间不足",
    threshold: "磁盘剩余空间",
    advice: "清理旧报告与旧日志，或扩大磁盘；空间足够时再用 python -m monitoring vacuum --keep-days N 压缩数据库。写满后请求会得到 503。",
  },
  experiment_arm_stopped: {
    name: "实验 {subject} 组已自动停止，其用户使用默认模型，其余各组继续",
    title: "实验中的一组自动停止",
    advice: "到“实验”页查看结果，或生成 A/B 测试报告；在查明原因之前，不要再让该模型参加实验。",
  },
  experiment_aborted: {
    name: "实验 {subject} 已自动停止，所有用户回到默认模型",
    title: "实验自动停止",
    advice: "到“实验”页查看结果，或生成 A/B 测试报告；确认后结束该实验。",
  },
  model_rolled_back: {
    name: "{subject} 的生产模型已自动回滚",
    title: "生产模型自动回滚",
    advice: "到“模型”页查看变更历史；在修复并重新验证之前，不要再部署该版本。",
  },
  work_points: "{sizes} 个工作点的请求",
  points: "{sizes} 点",
  subjects: { n_workpoints: "工作点数量", lower_bound: "下界（完工时间的下限）" },
};

export const enRules = {
  max_makespan: {
    name: "The mean makespan is above its threshold",
    threshold: "Mean makespan (requests of one standard cycle)",
    advice: "Only requests of one standard cycle count: check the hours of their steps and the headcounts; grant requests more time_budget_ms; see the gaps by size in the performance report.",
  },
  max_makespan_rise: {
    name: "Schedules of requests with one work point are longer than those of that size were | Schedules of requests with {subject} work points are longer than those of that size were",
    title: "Schedules are longer than those of their size were",
    threshold: "Schedules longer than those of their size were (over the lower bound, each size)",
    advice: "Look at the latest change of models, the default time to improve and the machine's load; if clients send other steps or headcounts, silence it or raise the threshold below.",
  },
  max_execution_time: {
    name: "The 99th percentile of the compute time is above its threshold",
    threshold: "P99 of the compute time (beyond what was granted)",
    advice: "Only what goes beyond time_budget_ms counts: send smaller requests, or add compute threads (SCHED_COMPUTE_THREADS); look at the machine's load and the queues above.",
  },
  min_success_rate: {
    name: "The success rate is below its threshold",
    threshold: "Success rate",
    advice: "Look at the health above and at ERROR in logs/flask_service.log; if a model was changed lately, roll back on the page Models.",
  },
  model_failures: {
    name: "The model {subject} could not answer, and others stood in for it",
    title: "A model could not answer",
    advice: "Run python -m model_manager fsck; register the model again, or roll back.",
  },
  max_gap: {
    name: "The mean gap of requests with one work point is above its threshold | The mean gap of requests with {subject} work points is above its threshold",
    title: "The mean gap is above its threshold",
    of_size: "Mean gap to the bound, 1 work point | Mean gap to the bound, {sizes} work points",
    advice: "Look at the latest change of models and the machine's load (the default of 20 ms is wall-clock time); grant requests more time_budget_ms.",
  },
  input_drift: {
    name: "Requests are distributed by {subject} otherwise than before (PSI)",
    title: "Requests are distributed otherwise than before (PSI)",
    threshold: "Requests distributed otherwise than before (PSI)",
    advice: "Find out who sends them and whether their source has changed; compare the models on them by a replay, and train again if need be.",
  },
  silent_service: {
    name: "No requests arrive, though in the same hours of earlier weeks they did",
    title: "No requests arrive",
    threshold: "No requests, where earlier weeks had more than (times)",
    advice: "Check the clients' address, the network and the health above; if the service is out of use on purpose, silence this rule.",
  },
  min_free_disk_gib: {
    name: "The disk is nearly full",
    threshold: "Free space on the disk",
    advice: "Remove old reports and logs, or enlarge the disk; with room for two copies of the database, python -m monitoring vacuum --keep-days N makes it smaller. Once the disk is full, requests are answered 503.",
  },
  experiment_arm_stopped: {
    name: "Arm {subject} was stopped automatically; its users get the default model, the other arms go on",
    title: "An arm of an experiment was stopped",
    advice: "See its results on the page Experiments, or make an A/B report; do not try that model again before the cause is known.",
  },
  experiment_aborted: {
    name: "The experiment {subject} stopped itself, and everyone is back on the default model",
    title: "An experiment stopped itself",
    advice: "See its results on the page Experiments, or make an A/B report; then conclude it.",
  },
  model_rolled_back: {
    name: "The live model of {subject} was rolled back automatically",
    title: "A live model was rolled back automatically",
    advice: "See the history on the page Models; do not deploy that version again before it is mended and validated.",
  },
  work_points: "requests with one work point | requests with {sizes} work points",
  points: "1 point | {sizes} points",
  subjects: { n_workpoints: "number of work points", lower_bound: "lower bound" },
};
