// The charts of one period; loaded anew as often as its buckets are worth it.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { download, toCsv } from "../../core/download.js";
import { duration_s, hours as asHours, number, percent, time } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { CHARTS, optionOf, valuesOf } from "./trend_options.js";

/** Buckets, and how often they are asked for. */
const OF_PERIOD = {
  1: { points: 60, everyMs: 15_000 },
  24: { points: 96, everyMs: 60_000 },
  168: { points: 84, everyMs: 300_000 },
  720: { points: 30, everyMs: 600_000 },
};

const FORMATS = {
  start: time,
  runs: (value) => number(value, 0),
  failures: (value) => number(value, 0),
  success_rate: percent,
  mean_makespan: asHours,
  mean_policy_makespan: asHours,
  mean_gap: (value) => percent(value, 2),
  p50_execution_time: duration_s,
  p95_execution_time: duration_s,
  mean_satisfaction: number,
};

export default {
  name: "TrendCharts",
  props: { hours: { type: Number, required: true }, model: String, experiment: String, thresholds: { type: Object, default: () => ({}) }, rules: { type: Array, default: () => [] } },
  setup(props) {
    const { t, locale } = useI18n();
    const { points, everyMs } = OF_PERIOD[props.hours];
    const range = computed(() => t(`monitoring.trends.ranges.${props.hours}`));
    const load = useLoad(
      async (signal) => {
        const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone; // days are the reader's
        const query = { hours: props.hours, points, time_zone, model_key: props.model, experiment: props.experiment };
        const [told, history] = await Promise.all([
          api.get("/performance/trends", query, { signal }),
          api.get("/alerts/history", { days: Math.max(1, props.hours / 24) }, { signal }),
        ]);
        return { ...told.trends, history: history.alerts, isNarrow: matchMedia("(max-width: 720px)").matches };
      },
      { everyMs },
    );
    const isEmpty = computed(() => Boolean(load.data.value?.points.every((point) => point.runs === 0)));

    /** When alerts of a rule were on; they judge all runs, so they say nothing of a filtered chart. */
    function spells(rule) {
      if (!rule || props.model || props.experiment) return [];
      return load.data.value.history
        .filter((alert) => alert.name === rule)
        .map((alert) => [new Date(alert.began).getTime(), alert.ended ? new Date(alert.ended).getTime() : now()]);
    }

    function label(chart) {
      const found = valuesOf(chart.series[chart.told ?? chart.series.length - 1], load.data.value.points);
      const name = t(`monitoring.trends.charts.${chart.name}`);
      if (!found.length) return t("monitoring.trends.label_none", { name, range: range.value });
      const told = { last: found.at(-1), least: Math.min(...found), most: Math.max(...found) };
      for (const [key, value] of Object.entries(told)) told[key] = chart.format(value);
      return t("monitoring.trends.label", { name, range: range.value, ...told });
    }

    function note(chart) {
      if (chart.name === "gap") {
        const limits = props.rules
          .filter(({ name }) => name === "max_gap")
          .map(({ params, threshold }) => t("monitoring.trends.gap_limit", { points: params.sizes, limit: `${number(100 * threshold, 2)} %` }));
        return limits.length ? t("monitoring.trends.gap_note", { limits: limits.join(locale.value === "zh" ? "，" : ", ") }) : "";
      }
      if (chart.name === "satisfaction") {
        return t("monitoring.trends.satisfaction_note", { n: number(load.data.value.points.reduce((sum, point) => sum + point.verdicts, 0), 0) });
      }
      if (chart.name === "success" && !CHARTS.some(({ rule }) => spells(rule).length)) return "";
      return t(`monitoring.trends.${chart.name}_note`);
    }

    const charts = computed(() => {
      const trends = load.data.value;
      if (!trends || isEmpty.value) return [];
      const words = {
        series: (name) => t(`monitoring.trends.series.${name}`),
        threshold: (value) => t("monitoring.trends.threshold", { value }),
      };
      return CHARTS.map((chart) => ({
        name: chart.name,
        title: t(`monitoring.trends.charts.${chart.name}`),
        label: label(chart),
        note: note(chart),
        option: optionOf(chart, trends, {
          limit: props.thresholds[chart.threshold], spells: spells(chart.rule), words, isNarrow: trends.isNarrow,
        }),
      }));
    });

    const columns = Object.keys(FORMATS);
    const rows = computed(() => [...(load.data.value?.points ?? [])].reverse());
    const cell = (point, column) => FORMATS[column](point[column]);
    const save = () =>
      download(`trends_${props.hours}h.csv`, toCsv(load.data.value.points.map(({ start, end, ...rest }) => ({ start, end, ...rest }))), "text/csv;charset=utf-8");
    const length = computed(() => duration_s(load.data.value?.bucket_s));
    return { t, load, isEmpty, charts, columns, rows, cell, save, length };
  },
  template: /* html */ `
    <load-state :load="load" :empty="isEmpty">
      <div class="charts">
        <figure v-for="chart in charts" :key="chart.name" class="card" :data-chart="chart.name">
          <figcaption><h3>{{ chart.title }}</h3></figcaption>
          <e-chart :option="chart.option" :label="chart.label" height="11.5rem" group="trends" />
          <p class="hint">{{ chart.note }}</p>
        </figure>
      </div>
      <details class="card as-table">
        <summary>{{ t("monitoring.trends.table") }} · {{ t("monitoring.trends.bucket", { length }) }}</summary>
        <p><button type="button" class="btn small" @click="save">{{ t("monitoring.trends.csv") }}</button></p>
        <div class="scroll tall" tabindex="0" role="region" :aria-label="t('monitoring.trends.table')">
          <table class="data">
            <thead><tr><th v-for="column in columns" :key="column" scope="col" :class="{ num: column !== 'start' }">{{ t("monitoring.trends.columns." + column) }}</th></tr></thead>
            <tbody><tr v-for="point in rows" :key="point.start"><td v-for="column in columns" :key="column" :class="{ num: column !== 'start' }">{{ cell(point, column) }}</td></tr></tbody>
          </table>
        </div>
      </details>
      <template #empty><p>{{ t("monitoring.trends.no_runs") }}</p><p class="hint">{{ t("monitoring.trends.no_runs_advice") }}</p></template>
    </load-state>
  `,
};
