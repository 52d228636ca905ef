// One schedule: figures, Gantt chart, load, table, downloads, a person's verdict.
import { computed, shallowRef } from "vue";
import { useI18n } from "vue-i18n";
import * as echarts from "echarts";
import { download } from "../../core/download.js";
import { duration_s, fixed, hours, number, percent } from "../../core/format.js";
import { theme } from "../../parts/chart.js";
import { scheduleToCsv } from "./exchange.js";
import { gantt } from "./gantt.js";
import GanttView from "./gantt_view.js";
import Naming from "./naming.js";
import Rating from "./rating.js";
import Replanned, { moreOf } from "./replanned.js";
import { stepName } from "./standard.js";
import { teamLoad } from "./team_load.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const screenLook = () => ({
  ink: colour("--ink"), soft: colour("--ink-soft"), line: colour("--line"), pale: colour("--plain-pale"), bad: colour("--bad"), card: colour("--card"),
});
// One for all schedules on the page: bars are drawn in the colours of the theme.
const look = shallowRef(screenLook());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (look.value = screenLook()));
const PRINTED = { ink: "#1b2733", soft: "#51606e", line: "#d5dce3", pale: "#eef1f4", bad: "#b3261e", card: "#fff" };
const STAGES = ["greedy", "exact", "parts", "sampling", "resampling", "annealing", "genetic", "cpsat"]; // else: a priority rule

export default {
  name: "Result",
  components: { GanttView, Naming, Rating, Replanned },
  emits: ["named", "again"],
  props: {
    answer: { type: Object, required: true },
    view: { type: String, required: true },
    showCritical: { type: Boolean, required: true },
    spanH: { type: Number, required: true },
    isNarrow: { type: Boolean, default: false }, // beside another one
  },
  setup(props) {
    const { t, locale } = useI18n();
    const result = computed(() => props.answer.result);
    const isTardiness = computed(() => result.value.objective === "weighted_tardiness");
    const told = computed(() => props.answer.experiment_info);
    const mostMargin = computed(() => (innerWidth < 720 ? 104 : props.isNarrow ? 160 : 230));
    const context = (given) => ({ t, lang: locale.value, look: given, showCritical: props.showCritical, spanH: props.spanH });
    const drawn = computed(() => ({ ...context(look.value), mostMargin: mostMargin.value }));
    const load = computed(() => teamLoad(result.value, context(look.value)));
    const critical = computed(() => result.value.schedule_details.filter((step) => step.critical).length);
    const label = computed(() =>
      t("schedule.chart_label", {
        view: t(`schedule.views.${props.view}`),
        makespan: hours(result.value.makespan),
        bound: hours(isTardiness.value ? null : result.value.lower_bound),
        steps: result.value.schedule_details.length,
        critical: critical.value,
      }),
    );
    const name = (extension) => `schedule-${props.view}-${props.answer.request_id.slice(0, 8)}.${extension}`;

    /** Drawn anew in print colours and without sliders, whatever the screen shows. */
    function picture(renderer) {
      const { option, rows, rowPx, framePx } = gantt(result.value, props.view, context(PRINTED));
      const whole = { ...option, dataZoom: [], backgroundColor: "#fff" };
      const size = { width: 1400, height: rows * rowPx + framePx };
      const made = echarts.init(renderer === "svg" ? null : document.createElement("div"), theme(), { renderer, ssr: renderer === "svg", ...size });
      made.setOption({ ...whole, legend: { ...whole.legend, textStyle: { color: PRINTED.ink } } });
      const picture = renderer === "svg" ? made.renderToSVGString() : made.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: "#fff" });
      made.dispose();
      return picture;
    }
    const png = () => download(name("png"), picture("canvas"));
    const svg = () => download(name("svg"), picture("svg"), "image/svg+xml");
    const csv = () => download(`schedule-${props.answer.request_id.slice(0, 8)}.csv`, scheduleToCsv(result.value), "text/csv;charset=utf-8");
    const json = () => download(`schedule-${props.answer.request_id.slice(0, 8)}.json`, JSON.stringify(props.answer, null, 2), "application/json");
    const inOrder = computed(() => result.value.schedule_details.toSorted((a, b) => a.start - b.start || a.end - b.end));
    const step = (text) => stepName(text, locale.value);
    const more = (each) => moreOf(each, t);
    const foundBy = computed(() => {
      const { stage, evaluations } = result.value;
      const by = STAGES.includes(stage) ? t("schedule.stage." + stage) : t("schedule.stage.rule", { rule: stage });
      // The parts' schedules and the model's own one were not chosen among many.
      const found = ["exact", "greedy"].includes(stage) || evaluations === undefined ? by : `${by} · ${t("schedule.evaluations", { n: number(evaluations) })}`;
      return result.value.search_cut_short ? `${found} · ${t("schedule.cut_short")}` : found;
    });
    return { t, result, isTardiness, told, drawn, load, label, png, svg, csv, json, inOrder, step, more, foundBy, hours, percent, duration_s, number, fixed };
  },
  template: /* html */ `
    <article class="card result">
      <header class="row"><h2>{{ result.model_info.model_key }}</h2><small v-if="told.reason" class="hint">{{ t("schedule.reason." + told.reason, { experiment: told.experiment, variant: told.variant }) }}</small></header>
      <naming :key="answer.request_id" :request-id="answer.request_id" :recorded="answer.recorded" @named="$emit('named', $event)">
        <button v-if="answer.recorded" type="button" class="btn small quiet" @click="$emit('again')">{{ t("schedule.load_input") }}</button>
      </naming>
      <dl class="kpis">
        <div class="kpi main"><dt>{{ t("schedule.makespan") }}</dt><dd data-test="makespan">{{ hours(result.makespan) }}</dd></div>
        <div v-if="answer.performance.policy_makespan != null" class="kpi"><dt :title="t('schedule.policy_makespan_hint')">{{ t("schedule.policy_makespan") }}</dt><dd data-test="policy-makespan">{{ hours(answer.performance.policy_makespan) }}</dd></div>
        <div v-if="result.weighted_tardiness != null" class="kpi"><dt>{{ t("schedule.tardiness") }}</dt><dd data-test="tardiness">{{ fixed(result.weighted_tardiness) }}</dd></div>
        <div class="kpi"><dt>{{ t(isTardiness ? "schedule.tardiness_bound" : "schedule.lower_bound") }}</dt><dd>{{ hours(result.lower_bound) }}</dd></div>
        <div class="kpi"><dt :title="t('schedule.gap_hint')">{{ t("schedule.gap") }}</dt><dd>{{ percent(result.gap) }} <span v-if="result.gap !== null && result.gap < 1e-9" class="badge good">{{ t("schedule.proved") }}</span></dd></div>
        <div class="kpi"><dt>{{ t("schedule.utilization") }}</dt><dd>{{ percent(result.resource_utilization) }}</dd></div>
        <div class="kpi"><dt>{{ t("schedule.took") }}</dt><dd>{{ duration_s(answer.performance.execution_time) }} <small data-test="found-by">{{ foundBy }}</small></dd></div>
      </dl>
      <replanned :result="result" />
      <gantt-view :result="result" :view="view" :context="drawn" :label="label" />
      <div class="row tight">
        <span class="hint">{{ t("schedule.download") }}</span>
        <button type="button" class="btn small" @click="png">PNG</button><button type="button" class="btn small" @click="svg">SVG</button>
        <button type="button" class="btn small" @click="csv">CSV</button><button type="button" class="btn small" @click="json">JSON</button>
      </div>
      <h3>{{ t("schedule.load") }}</h3>
      <e-chart :option="load.option" :height="load.height + 'px'" :label="t('schedule.load_label')" />
      <details><summary>{{ t("schedule.as_table") }}</summary>
        <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.as_table')"><table class="data"><thead><tr>
          <th>{{ t("schedule.workpoint_id") }}</th><th>{{ t("schedule.workpoint") }}</th><th>{{ t("schedule.step") }}</th><th>{{ t("schedule.team") }}</th><th class="num">{{ t("schedule.crew") }}</th><th class="num">{{ t("schedule.start") }}</th><th class="num">{{ t("schedule.end") }}</th><th v-for="[name] in more(inOrder[0])" :key="name">{{ name }}</th><th></th></tr></thead>
          <tbody><tr v-for="each in inOrder" :key="each.id"><td>{{ each.workpoint_id }}</td><td>{{ each.workpoint_name }}</td><td>{{ step(each.name) }}</td><td>{{ t("schedule.teams." + each.team, each.team) }}</td><td class="num">{{ each.workers }}</td><td class="num">{{ fixed(each.start) }}</td><td class="num">{{ fixed(each.end) }}</td><td v-for="[name, value] in more(each)" :key="name">{{ value }}</td><td><span v-if="each.critical" class="badge bad">{{ t("schedule.critical") }}</span></td></tr></tbody>
        </table></div>
      </details>
      <rating :request-id="answer.request_id" :key="answer.request_id" />
    </article>
  `,
};
