// Asks what a report is to be of, and waits while it is made.
import { computed, nextTick, onScopeDispose, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { refusalText } from "../../core/refusals.js";
import { useFieldMistakes } from "../../parts/mistakes.js";
import ReportLinks from "../../parts/report_links.js";

export default {
  name: "ReportForm",
  components: { ReportLinks },
  emits: ["made"],
  setup(_, { emit }) {
    const { t, locale } = useI18n();
    const form = ref({ kind: "performance", experiment: "", days: 7, lang: locale.value, format: "html" });
    const seconds = ref(0);
    const isMaking = ref(false);
    const mistakes = useFieldMistakes();
    const made = ref(null);
    const result = ref(null);
    let ticking = null;
    const known = useLoad(async (signal) => {
      const { experiments } = await api.get("/experiments", null, { signal });
      form.value.experiment ||= experiments[0]?.name ?? "";
      return experiments.map((each) => each.name);
    });
    const experiments = computed(() => known.data.value ?? []);
    const isPossible = computed(() => form.value.kind === "performance" || Boolean(form.value.experiment));

    async function make() {
      const { kind, experiment, days, lang, format } = form.value;
      if (!mistakes.check()) return;
      [made.value, seconds.value, isMaking.value] = [null, 0, true];
      ticking = setInterval(() => (seconds.value += 1), 1_000);
      try {
        const body = { days, lang, format, ...(kind === "ab_test" && { experiment_name: experiment }) };
        const { report, url } = await api.post(`/reports/${kind}`, body);
        made.value = { name: report, url };
        emit("made", report);
      } catch (err) {
        mistakes.refuse(err, refusalText, { experiment_name: "experiment" });
      } finally {
        clearInterval(ticking);
        isMaking.value = false;
      }
      await nextTick();
      result.value?.querySelector("a")?.focus();
    }

    onScopeDispose(() => clearInterval(ticking));
    return { t, form, experiments, isPossible, isMaking, seconds, mistakes, formBox: mistakes.form, made, result, make };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="make-title">
      <h2 id="make-title">{{ t("monitoring.reports.make") }}</h2>
      <form ref="formBox" class="row end make" novalidate @submit.prevent="make">
        <fieldset class="choice"><legend>{{ t("monitoring.reports.kind") }}</legend>
          <label v-for="kind in ['performance', 'ab_test']" :key="kind" class="check"><input v-model="form.kind" type="radio" name="kind" :value="kind">{{ t("monitoring.reports.kinds." + kind) }}</label>
        </fieldset>
        <div v-if="form.kind === 'ab_test'"><label class="field">{{ t("monitoring.reports.experiment") }}
          <select v-model="form.experiment" name="experiment" required :disabled="!experiments.length" v-bind="mistakes.attrs('experiment')"><option v-for="each in experiments" :key="each">{{ each }}</option></select></label>
          <field-mistake :at="['experiment']" :text="mistakes.text('experiment')" /></div>
        <div><label class="field short">{{ t("monitoring.reports.days") }}
          <input v-model.number="form.days" name="days" type="number" min="1" max="3650" step="1" required v-bind="mistakes.attrs('days')"></label>
          <field-mistake :at="['days']" :text="mistakes.text('days')" /></div>
        <label class="field">{{ t("monitoring.reports.lang") }}
          <select v-model="form.lang" name="lang"><option v-for="each in ['zh', 'en']" :key="each" :value="each">{{ t("monitoring.reports.langs." + each) }}</option></select></label>
        <label class="field">{{ t("monitoring.reports.format") }}
          <select v-model="form.format" name="format"><option v-for="each in ['html', 'pdf']" :key="each" :value="each">{{ t("monitoring.reports.formats." + each) }}</option></select></label>
        <div><mistake-list :others="mistakes.others.value" />
          <button class="btn primary" :disabled="isMaking || !isPossible">{{ t("monitoring.reports.action") }}</button></div>
      </form>
      <p v-if="!isPossible" class="hint">{{ t("monitoring.reports.no_experiments") }}</p>
      <div role="status">
        <div v-if="isMaking"><p class="hint">{{ t("monitoring.reports.making", { s: seconds }) }}</p><progress :aria-label="t('monitoring.reports.make')"></progress></div>
        <p v-else-if="made" ref="result" class="row made"><span class="good">✓ {{ t("monitoring.reports.made") }}</span> <code>{{ made.name }}</code> <report-links :report="made" /></p>
      </div>
    </section>
  `,
};
