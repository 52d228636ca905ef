// Every rule with its thresholds, what it is measured at now, and who set it; whoever may, changes it here.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { refusalText } from "../../core/refusals.js";
import { definitions } from "../../core/words.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { moment } from "./moment.js";
import { ruleOf, useRules } from "./rules.js";
import ThresholdDialog from "./threshold_dialog.js";

const CHANGES_LISTED = 20;
const GAP = "max_gap_";

export default {
  name: "Thresholds",
  components: { ThresholdDialog },
  props: { load: { type: Object, required: true } }, // GET /alerts
  setup(props) {
    const { t } = useI18n();
    const told = computed(() => props.load.data.value);
    const rules = useRules();
    const thresholds = useLoad((signal) => api.get("/alerts/thresholds", null, { signal }), { everyMs: 60_000 });
    const changing = ref(null);
    const heading = ref(null);

    /** What the rule sees that a threshold is of: of a gap that of its size only. */
    function seenBy({ name, rule }) {
      const subject = name.startsWith(GAP) ? `N<=${name.slice(GAP.length)}` : null;
      return (told.value?.rules ?? []).filter((each) => each.name === rule && (subject === null || each.subject === subject));
    }
    const known = (each) => each.value !== null && each.value !== undefined;
    const rows = computed(() =>
      (thresholds.data.value?.thresholds ?? []).map((each) => {
        const seen = seenBy(each);
        const isOne = each.name.startsWith(GAP) || seen.every(({ subject }) => !subject);
        const figures = seen.filter(known).map((reading) => ({
          ...reading,
          text: rules.figure(each.rule, reading.value),
          of: isOne ? "" : rules.short(reading),
        }));
        return { ...each, title: rules.thresholdTitle(each.name, each.params), figures };
      }),
    );
    const events = definitions.alert_rules.filter(({ worse }) => worse === null).map(({ name }) => name);
    const changes = computed(() => (thresholds.data.value?.changes ?? []).slice(0, CHANGES_LISTED));
    const shown = (name, value) => (value === null ? t("monitoring.thresholds.usual") : rules.figure(ruleOf(name), value));

    const changeTitle = ({ name }) => rules.thresholdTitle(name, rows.value.find((row) => row.name === name)?.params);

    async function show() {
      await Promise.all([thresholds.reload(), props.load.reload()]);
      await nextTick();
      heading.value?.focus();
    }

    async function reset(row) {
      const ask = (word) => t(`monitoring.thresholds.ask_reset.${word}`, { rule: row.title, value: shown(row.name, row.default) });
      const answer = await confirm({ title: ask("title"), happens: [ask("happens"), ask("kept")], action: ask("action") });
      if (!answer) return;
      try {
        await api.delete(`/alerts/thresholds/${row.name}`, answer);
        toast(ask("done"));
      } catch (err) {
        toast(err.status === 404 ? ask("gone") : refusalText(err), err.status === 404 ? "info" : "bad");
      }
      await show();
    }

    return { t, moment, rules, thresholds, rows, events, changes, changeTitle, shown, changing, heading, show, reset };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="thresholds-title">
      <h2 id="thresholds-title" ref="heading" tabindex="-1">{{ t("monitoring.thresholds.title") }}</h2>
      <p class="hint">{{ t("monitoring.thresholds.about") }}</p>
      <load-state :load="thresholds">
        <p v-if="thresholds.data.value.problem" class="error" role="alert">{{ t("monitoring.thresholds.problem") }} <code>{{ thresholds.data.value.problem }}</code></p>
        <div class="scroll" tabindex="0" role="region" :aria-label="t('monitoring.thresholds.title')">
          <table class="data cards thresholds">
            <thead><tr><th scope="col">{{ t("monitoring.thresholds.rule") }}</th><th scope="col">{{ t("monitoring.thresholds.now") }}</th>
              <th scope="col" class="num">{{ t("monitoring.alerts.threshold") }}</th><th scope="col">{{ t("monitoring.thresholds.set_by") }}</th><th scope="col"><span class="unseen">{{ t("monitoring.thresholds.change") }}</span></th></tr></thead>
            <tbody>
              <tr v-for="row in rows" :key="row.name" :data-threshold="row.name">
                <td class="what">{{ row.title }}</td>
                <td :data-label="t('monitoring.thresholds.now')"><span v-for="each in row.figures" :key="each.subject" class="seen" :class="each.state"><small v-if="each.of">{{ each.of }}</small>{{ each.text }}</span>
                  <span v-if="!row.figures.length" class="hint">{{ t("monitoring.thresholds.unknown") }}</span></td>
                <td class="num" :data-label="t('monitoring.alerts.threshold')"><strong>{{ rules.figure(row.rule, row.value) }}</strong></td>
                <td class="handled"><template v-if="row.is_set"><span class="badge">{{ t("monitoring.thresholds.is_set") }}</span> <span v-if="row.changed">{{ row.changed.actor || t("monitoring.alerts.somebody") }}, {{ moment(row.changed.time) }}</span>
                    <p class="hint"><template v-if="row.changed && row.changed.reason">{{ row.changed.reason }} · </template>{{ t("monitoring.thresholds.default", { value: rules.figure(row.rule, row.default) }) }}</p></template>
                  <span v-else class="hint">{{ t("monitoring.thresholds.usual") }}</span></td>
                <td><span class="buttons admin-only"><button type="button" class="btn small" @click="changing = row" :aria-label="t('monitoring.thresholds.change_of', { rule: row.title })">{{ t("monitoring.thresholds.change") }}</button>
                  <button v-if="row.is_set" type="button" class="btn small quiet" @click="reset(row)" :aria-label="t('monitoring.thresholds.reset_of', { rule: row.title })">{{ t("monitoring.thresholds.reset") }}</button></span></td>
              </tr>
            </tbody>
          </table>
        </div>
        <p class="hint">{{ t("monitoring.thresholds.events", { rules: events.map(rules.title).join(t("monitoring.thresholds.and")) }) }}</p>
        <details v-if="changes.length"><summary>{{ t("monitoring.thresholds.changes", { n: changes.length }) }}</summary>
          <ul class="changes"><li v-for="each in changes" :key="each.id">{{ moment(each.time) }} · {{ changeTitle(each) }}: {{ shown(each.name, each.before) }} → {{ shown(each.name, each.after) }} · {{ each.actor || t("monitoring.alerts.somebody") }}<template v-if="each.reason"> · {{ each.reason }}</template></li></ul>
        </details>
      </load-state>
      <threshold-dialog v-if="changing" :row="changing" @close="changing = null" @done="show" />
    </section>
  `,
};
