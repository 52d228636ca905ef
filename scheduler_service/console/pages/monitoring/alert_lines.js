// What is wrong now in a line each, above everything else; the tab of the alerts has the rest.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { ago } from "../../core/format.js";
import { bySeverity, useRules } from "./rules.js";

const SHOWN = 4;

export default {
  name: "AlertLines",
  props: { load: { type: Object, required: true } },
  emits: ["open"],
  setup(props) {
    const { t } = useI18n();
    const told = computed(() => props.load.data.value);
    const rules = useRules();
    const alerts = computed(() => bySeverity(told.value?.alerts ?? []));
    const figures = (alert) => rules.figures(alert).map(([name, value]) => `${name} ${value}`).join(" · ");
    return { t, ago, rules, alerts, figures, shown: SHOWN };
  },
  template: /* html */ `
    <load-state v-if="load.error.value && !alerts.length" :load="load" />
    <section v-if="alerts.length" class="card alert-lines" :class="alerts[0].severity" :aria-label="t('monitoring.alerts.now')">
      <ul>
        <li v-for="alert in alerts.slice(0, shown)" :key="alert.name + alert.subject" :class="{ seen: alert.acknowledged }">
          <span class="badge" :class="alert.severity === 'critical' ? 'bad' : 'warn'">{{ t("monitoring.alerts.severities." + alert.severity) }}</span>
          <strong>{{ rules.sentence(alert) }}</strong>
          <span class="hint">{{ figures(alert) }}<template v-if="alert.began"> · {{ t("monitoring.alerts.for", { ago: ago(alert.began) }) }}</template></span>
          <span v-if="alert.acknowledged" class="hint good">✓ {{ alert.acknowledged_by || t("monitoring.alerts.somebody") }}</span>
          <span v-if="alert.silenced" class="badge mute">{{ t("monitoring.alerts.silenced") }}</span>
        </li>
      </ul>
      <div class="row"><span v-if="alerts.length > shown" class="hint">{{ t("monitoring.alerts.others", { n: alerts.length - shown }) }}</span>
        <button type="button" class="btn small" @click="$emit('open')">{{ t("monitoring.alerts.see") }}</button></div>
    </section>
  `,
};
