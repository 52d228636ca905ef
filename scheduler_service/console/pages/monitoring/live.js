// The figures of now, each with its last hour as a line.
import { computed, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import SparkLine from "./spark.js";

const EVERY_MS = 15_000;
const RATE_MINUTES = 5;
const KEPT_SAMPLES = 60;
/** Queues of schedules; the others have what this page asks for, too. */
const KINDS = ["compute", "large", "improving"];

/** The sum of a metric of GET /metrics over the queues that matter. */
export function sumOf(metrics, name) {
  const found = metrics.matchAll(new RegExp(`^${name}\\{kind="(\\w+)"\\} ([\\d.e+]+)$`, "gm"));
  return [...found].filter(([, kind]) => KINDS.includes(kind)).reduce((sum, [, , value]) => sum + Number(value), 0);
}

export default {
  name: "LiveFigures",
  components: { SparkLine },
  props: { thresholds: { type: Object, default: () => ({}) }, rules: { type: Array, default: () => [] } },
  setup(props) {
    const { t } = useI18n();
    const waits = ref([]);

    const live = useLoad(
      async (signal) => {
        const [trends, metrics] = await Promise.all([
          api.get("/performance/trends", { hours: 1, points: 60 }, { signal }),
          api.get("/metrics", null, { signal, as: "text" }),
        ]);
        // After the first answers, which tell the service's time.
        const since = new Date(now() - 3_600_000).toISOString();
        const figures = await api.get("/performance", { start_time: since }, { signal });
        const waiting = sumOf(metrics, "queue_depth");
        waits.value = [...waits.value, waiting].slice(-KEPT_SAMPLES);
        return {
          ...{ performance: figures.performance, points: trends.trends.points, waiting, at: new Date() },
          ...{ room: sumOf(metrics, "queue_capacity"), refused: sumOf(metrics, "queue_refused_total") },
        };
      },
      { everyMs: EVERY_MS },
    );

    const tiles = computed(() => {
      const told = live.data.value;
      if (!told) return [];
      const { performance: all, points } = told;
      const line = (name) => points.map((point) => point[name]);
      // The last minute is not over yet.
      const recent = points.slice(-1 - RATE_MINUTES, -1).reduce((sum, point) => sum + point.runs, 0);
      // A mean over all sizes says nothing of a threshold that is for one of them: the rule itself does.
      const cycle = props.rules.find(({ name, state }) => name === "max_makespan" && state === "beyond");
      const below = (value, limit, shown) => (value !== null && value < limit ? t("monitoring.live.below", { limit: shown }) : "");
      const { min_success_rate: least } = props.thresholds;
      return [
        {
          name: "rate", value: number(recent / RATE_MINUTES, 1), values: line("runs"),
          about: t("monitoring.live.rate_about", { n: number(all.total_requests, 0) }),
        },
        {
          name: "success", value: percent(all.success_rate), values: line("success_rate"),
          about: t("monitoring.live.success_about", { n: number(all.failed_requests, 0) }),
          beyond: below(all.success_rate, least, percent(least)),
        },
        {
          name: "makespan", value: hours(all.makespan.mean, 1), values: line("mean_makespan"),
          about: t("monitoring.live.makespan_about", { p95: hours(all.makespan.p95, 1) }),
          beyond: cycle ? t("monitoring.live.above_cycle", { value: hours(cycle.value, 1), limit: hours(cycle.threshold, 0) }) : "",
        },
        {
          name: "gap", value: percent(all.gap.mean, 2), values: line("mean_gap"),
          about: t("monitoring.live.gap_about", { p95: percent(all.gap.p95, 2) }),
        },
        {
          name: "time", value: duration_s(all.execution_time.p50), values: line("p95_execution_time"),
          about: t("monitoring.live.time_about", { p95: duration_s(all.execution_time.p95) }),
        },
        {
          name: "waiting", value: fixed(told.waiting, 0), values: [...Array(KEPT_SAMPLES - waits.value.length).fill(null), ...waits.value],
          about: t("monitoring.live.waiting_about", { n: number(told.room, 0), refused: number(told.refused, 0) }),
        },
      ];
    });
    const clock = (at) => at.toLocaleTimeString("en-GB"); // 20:12:33 in either language
    return { t, live, tiles, clock };
  },
  template: /* html */ `
    <section class="live" aria-labelledby="live-title">
      <load-state :load="live">
        <div class="row"><h2 id="live-title">{{ t("monitoring.live.title") }}</h2><span class="hint">{{ t("monitoring.live.window", { time: clock(live.data.value.at) }) }}</span></div>
        <dl class="tiles">
          <div v-for="tile in tiles" :key="tile.name" class="card kpi" :data-figure="tile.name">
            <dt>{{ t("monitoring.live." + tile.name) }}</dt>
            <dd :class="{ bad: tile.beyond }">{{ tile.value }}
              <small v-if="tile.beyond" class="bad">{{ tile.beyond }}</small><small v-else>{{ tile.about }}</small></dd>
            <dd class="line" aria-hidden="true"><spark-line :values="tile.values" :tone="tile.beyond ? 'bad' : ''" /></dd>
          </div>
        </dl>
      </load-state>
    </section>
  `,
};
