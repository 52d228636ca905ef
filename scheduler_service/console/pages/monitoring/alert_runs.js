// The runs that an alert is about, the worst first, each with its schedule and what the log says of it.
import { computed, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { duration_s, hours, number, percent } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { refusalText } from "../../core/refusals.js";
import { moment } from "./moment.js";

const LISTED = 10;

export default {
  name: "AlertRuns",
  props: { id: { type: Number, required: true } },
  setup(props) {
    const { t } = useI18n();
    const load = useLoad((signal) => api.get(`/alerts/${props.id}`, { limit: LISTED }, { signal }));
    const told = computed(() => load.data.value);
    const lines = ref({}); // of a run: {text} or {error}

    async function toggle(run) {
      if (lines.value[run]) return delete lines.value[run];
      try {
        const found = await api.get(`/runs/${encodeURIComponent(run)}/log`);
        lines.value[run] = { text: found.lines.join("\n") };
      } catch (err) {
        lines.value[run] = { error: refusalText(err) };
      }
      return true;
    }
    const place = (run) => `/schedule/${encodeURIComponent(run.request_id)}`;
    return { t, moment, duration_s, hours, number, percent, load, told, lines, toggle, place };
  },
  template: /* html */ `
    <load-state :load="load">
      <p class="hint">{{ t("monitoring.runs.window", { start: moment(told.window.start), end: moment(told.window.end), n: told.total, shown: told.runs.length }, told.total) }}</p>
      <ul v-if="told.runs.length" class="alert-runs">
        <li v-for="run in told.runs" :key="run.request_id">
          <div class="row"><router-link v-if="run.success" :to="place(run)"><code>{{ run.request_id }}</code></router-link><code v-else>{{ run.request_id }}</code>
            <span v-if="!run.success" class="badge bad">{{ t("monitoring.trends.series.failed") }}</span>
            <span class="hint">{{ moment(run.timestamp) }} · {{ t("monitoring.runs.size", { n: number(run.n_workpoints, 0), steps: number(run.n_steps, 0) }, run.n_workpoints === 1 ? 1 : 2) }}<template v-if="run.success"> · {{ hours(run.makespan) }} · {{ t("monitoring.trends.series.gap") }} {{ percent(run.gap, 2) }}</template> · {{ duration_s(run.execution_time) }}<template v-if="run.model_key"> · {{ run.model_key }}</template></span>
            <button type="button" class="btn small quiet admin-only" :aria-expanded="Boolean(lines[run.request_id])" @click="toggle(run.request_id)">{{ t("monitoring.runs.log") }}</button></div>
          <p v-if="run.error_message" class="hint">{{ run.error_message }}</p>
          <pre v-if="lines[run.request_id]?.text" class="log" tabindex="0">{{ lines[run.request_id].text }}</pre>
          <p v-else-if="lines[run.request_id]?.text === ''" class="hint none">{{ t("monitoring.runs.no_lines") }}</p>
          <p v-if="lines[run.request_id]?.error" class="error" role="alert">{{ lines[run.request_id].error }}</p>
        </li>
      </ul>
      <p v-else class="hint">{{ t("monitoring.runs.none") }}</p>
      <p v-if="told.log.command" class="hint">{{ t("monitoring.runs.command") }} <code class="command">{{ told.log.command }}</code></p>
    </load-state>
  `,
};
