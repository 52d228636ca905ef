// What is wrong now, and what people may say to it.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { ago, time } from "../../core/format.js";
import { refusalText } from "../../core/refusals.js";
import { moment } from "./moment.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { bySeverity, useRules } from "./rules.js";
import AlertRuns from "./alert_runs.js";
import SilenceDialog from "./silence_dialog.js";

export default {
  name: "AlertsNow",
  components: { AlertRuns, SilenceDialog },
  props: { load: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const told = computed(() => props.load.data.value);
    const rules = useRules();
    const heading = ref(null);
    const silencing = ref(null);
    const opened = ref([]); // ids of the alerts whose runs are shown
    const toggle = (id) => (opened.value = opened.value.includes(id) ? opened.value.filter((each) => each !== id) : [...opened.value, id]);
    const hasRuns = ({ id, name }) => id !== null && !["silent_service", "min_free_disk_gib"].includes(name);
    const keyOf = (alert) => `${alert.name} ${alert.subject}`;
    const alerts = computed(() => bySeverity(told.value?.alerts ?? []));
    const count = (severity) => alerts.value.filter((alert) => alert.severity === severity).length;
    const link = ({ name, subject }) => {
      if (name === "model_failures") return { to: `/models/${encodeURIComponent(subject)}`, text: t("monitoring.alerts.open_model") };
      if (["experiment_aborted", "experiment_arm_stopped"].includes(name))
        return { to: `/experiments/${encodeURIComponent(subject.split("/")[0])}`, text: t("monitoring.alerts.open_experiment") };
      return null;
    };

    /** Who was told, as far as that is known: with no channel, or one that refuses, nobody was. */
    function toldOf(alert) {
      if (!alert.notified) return t("monitoring.alerts.not_told");
      if (!alert.deliveries.length) return t("monitoring.alerts.logged", { ago: ago(alert.notified) });
      return alert.deliveries
        .map(({ channel, state, at, error }) => t("monitoring.alerts.deliveries." + state, { channel, ago: ago(at), error: error ?? "–" }))
        .join("; ");
    }

    const seenBy = ({ acknowledged_by: who, acknowledged }) =>
      t("monitoring.alerts.acknowledged", { who: who || t("monitoring.alerts.somebody"), time: moment(acknowledged) });

    async function acknowledge(alert) {
      const ask = (word) => t(`monitoring.alerts.ask_acknowledge.${word}`, { name: rules.sentence(alert) });
      const answer = await confirm({
        title: ask("title"),
        happens: [ask("records"), ask("no_reminders"), ask("stays")],
        action: ask("action"),
      });
      if (!answer) return;
      await props.load.reload();
      const present = told.value.alerts.find(({ id }) => id === alert.id);
      try {
        if (!present) toast(ask("over"), "info");
        else if (present.acknowledged) toast(seenBy(present), "info"); // somebody else was quicker: theirs stays
        else {
          await api.post(`/alerts/${alert.id}/acknowledge`, { actor: answer.actor, note: answer.reason });
          toast(ask("done"));
        }
      } catch (err) {
        toast(refusalText(err), "bad");
      }
      await show();
    }

    /** What there is now; the button that was pressed is gone. */
    async function show() {
      await props.load.reload();
      await nextTick();
      heading.value?.focus();
    }

    return { t, ago, time, moment, told, rules, alerts, count, keyOf, link, heading, silencing, opened, toggle, hasRuns, seenBy, toldOf, acknowledge, show };
  },
  template: /* html */ `
    <section class="alerts-now" aria-labelledby="alerts-title">
      <load-state :load="load">
        <div class="row">
          <h2 id="alerts-title" ref="heading" tabindex="-1">{{ t("monitoring.alerts.now") }}</h2>
          <span v-if="alerts.length" class="hint">{{ t("monitoring.alerts.counts", { critical: count("critical"), warning: count("warning") }) }}</span>
          <span v-else class="hint">{{ t("monitoring.alerts.none", { n: told.runs }) }}</span>
        </div>
        <ul v-if="alerts.length" class="alerts">
          <li v-for="alert in alerts" :key="keyOf(alert)" class="card alert" :class="[alert.severity, { seen: alert.acknowledged, wide: opened.includes(alert.id) }]">
            <div class="row">
              <span class="badge" :class="alert.severity === 'critical' ? 'bad' : 'warn'">{{ t("monitoring.alerts.severities." + alert.severity) }}</span>
              <span v-if="alert.state === 'pending'" class="badge">{{ t("monitoring.alerts.states.pending") }}</span>
              <span v-if="alert.silenced" class="badge mute">{{ t("monitoring.alerts.silenced") }}</span>
              <h3>{{ rules.sentence(alert) }}</h3>
            </div>
            <dl class="facts">
              <div v-for="[name, value] in rules.figures(alert)" :key="name"><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
            </dl>
            <p v-if="rules.reason(alert)" class="reason">{{ t("monitoring.alerts.reason") }} <code>{{ rules.reason(alert) }}</code></p>
            <p class="advice"><strong>{{ t("monitoring.alerts.advice") }}</strong> {{ rules.advice(alert) }}
              <router-link v-if="link(alert)" :to="link(alert).to">{{ link(alert).text }}</router-link></p>
            <div class="row foot">
              <span v-if="alert.began" class="hint" :title="time(alert.began)">{{ t("monitoring.alerts.since", { time: moment(alert.began), ago: ago(alert.began) }) }} ·
                {{ toldOf(alert) }}</span>
              <span v-if="alert.acknowledged" class="good">✓ {{ seenBy(alert) }}<template v-if="alert.note"> · {{ alert.note }}</template></span>
              <button v-if="hasRuns(alert)" type="button" class="btn small right" :aria-expanded="opened.includes(alert.id)" @click="toggle(alert.id)">{{ t("monitoring.runs.show") }}</button>
              <span class="buttons admin-only" :class="{ right: !hasRuns(alert) }">
                <button v-if="alert.id !== null && !alert.acknowledged" type="button" class="btn small" @click="acknowledge(alert)">{{ t("monitoring.alerts.acknowledge") }}</button>
                <button v-if="!alert.silenced" type="button" class="btn small quiet" @click="silencing = alert">{{ t("monitoring.alerts.silence") }}</button>
              </span>
            </div>
            <alert-runs v-if="opened.includes(alert.id)" :id="alert.id" />
          </li>
        </ul>
        <silence-dialog v-if="silencing" :of="silencing"
          @close="silencing = null" @done="show" />
      </load-state>
    </section>
  `,
};
