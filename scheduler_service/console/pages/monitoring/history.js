// The alerts of the last days: a strip of time for each rule, and the list.
import { computed, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { duration_s, time } from "../../core/format.js";
import { moment } from "./moment.js";
import { useLoad } from "../../core/load.js";
import { useRules } from "./rules.js";

const DAYS = [7, 30, 90];
const LISTED = 200;

export default {
  name: "AlertHistory",
  props: { load: { type: Object, required: true } }, // GET /alerts
  setup(props) {
    const { t } = useI18n();
    const rules = useRules();
    const days = ref(7);
    const history = useLoad(async (signal) => {
      const told = await api.get("/alerts/history", { days: days.value }, { signal });
      return { ...told, end: now(), days: days.value };
    });
    // Whatever is new of the alerts of now is new here, too.
    watch([days, props.load.data], () => history.reload());
    const alerts = computed(() => history.data.value?.alerts ?? []);
    const lasted = (alert) => duration_s(((alert.ended ? new Date(alert.ended) : now()) - new Date(alert.began)) / 1_000);

    /** Lanes of the timeline: of each rule its alerts, as percentages of the width. */
    const lanes = computed(() => {
      const { end, days: shown } = history.data.value;
      const start = end - shown * 86_400_000;
      const at = (moment) => Math.max(0, Math.min(100, (100 * (moment - start)) / (end - start)));
      const found = new Map();
      for (const alert of alerts.value) {
        const [from, to] = [at(new Date(alert.began)), at(alert.ended ? new Date(alert.ended) : end)];
        const bar = {
          id: alert.id, severity: alert.severity, left: `${from.toFixed(2)}%`, width: `${Math.max(0.4, to - from).toFixed(2)}%`,
          text: `${rules.sentence(alert)} · ${time(alert.began)} · ${lasted(alert)}`,
        };
        found.set(alert.name, [...(found.get(alert.name) ?? []), bar]);
      }
      return [...found].map(([name, bars]) => ({ name, bars }));
    });
    const ticks = computed(() => {
      const { end, days: shown } = history.data.value;
      const step = shown <= 7 ? 1 : shown <= 30 ? 5 : 15;
      const midnight = new Date(end).setHours(0, 0, 0, 0);
      return Array.from({ length: Math.ceil(shown / step) }, (_, n) => new Date(midnight - n * step * 86_400_000))
        .map((day) => ({ left: 100 - (100 * (end - day)) / (shown * 86_400_000), text: `${day.getMonth() + 1}/${day.getDate()}` }))
        .filter(({ left }) => left > 1 && left < 99);
    });
    return { t, time, moment, days, choices: DAYS, history, alerts, lanes, ticks, lasted, rules, listed: LISTED };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="history-title">
      <div class="row head">
        <h2 id="history-title">{{ t("monitoring.history.title") }}</h2>
        <div class="tabs right" role="group" :aria-label="t('monitoring.history.title')">
          <button v-for="each in choices" :key="each" type="button" :aria-pressed="days === each" @click="days = each">{{ t("monitoring.history.days", { n: each }) }}</button>
        </div>
      </div>
      <load-state :load="history" :empty="!alerts.length">
        <div class="lanes" role="img" :aria-label="t('monitoring.history.timeline', { n: days, count: alerts.length })">
          <div v-for="lane in lanes" :key="lane.name" class="lane">
            <span class="what">{{ rules.title(lane.name) }}</span>
            <span class="track"><i v-for="tick in ticks" :key="'t' + tick.text" :style="{ left: tick.left + '%' }"></i>
              <b v-for="bar in lane.bars" :key="bar.id" :class="bar.severity" :style="{ left: bar.left, width: bar.width }" :title="bar.text"></b></span>
          </div>
          <div class="lane axis"><span class="what"></span><span class="track"><em v-for="tick in ticks" :key="tick.text" :style="{ left: tick.left + '%' }">{{ tick.text }}</em></span></div>
        </div>
        <div class="scroll" tabindex="0" role="region" :aria-label="t('monitoring.history.title')">
          <table class="data cards">
            <thead><tr><th scope="col">{{ t("monitoring.history.severity") }}</th><th scope="col">{{ t("monitoring.history.alert") }}</th>
              <th scope="col">{{ t("monitoring.history.began") }}</th><th scope="col">{{ t("monitoring.history.lasted") }}</th>
              <th scope="col" class="num">{{ t("monitoring.history.figures") }}</th><th scope="col">{{ t("monitoring.history.handled") }}</th></tr></thead>
            <tbody>
              <tr v-for="each in alerts.slice(0, listed)" :key="each.id">
                <td><span class="badge" :class="each.severity === 'critical' ? 'bad' : 'warn'">{{ t("monitoring.alerts.severities." + each.severity) }}</span></td>
                <td class="what">{{ rules.sentence(each) }}<p v-if="rules.reason(each)" class="hint">{{ rules.reason(each) }}</p></td>
                <td class="nowrap" :data-label="t('monitoring.history.began')" :title="time(each.began)">{{ moment(each.began) }}</td>
                <td class="nowrap" :data-label="t('monitoring.history.lasted')">{{ lasted(each) }}<template v-if="!each.ended"><span class="badge bad">{{ t("monitoring.history.goes_on") }}</span></template></td>
                <td class="num" :data-label="t('monitoring.history.figures')">{{ rules.figures(each).map((pair) => pair[1]).join(" / ") || "–" }}</td>
                <td class="handled" :data-label="t('monitoring.history.handled')">{{ each.acknowledged ? each.acknowledged_by || t("monitoring.alerts.somebody") : "–" }}<p v-if="each.note" class="hint">{{ each.note }}</p></td>
              </tr>
            </tbody>
          </table>
        </div>
        <p v-if="alerts.length > listed" class="hint">{{ t("monitoring.history.more", { n: alerts.length - listed }) }}</p>
        <template #empty>{{ t("monitoring.history.none", { n: days }) }}</template>
      </load-state>
    </section>
  `,
};
