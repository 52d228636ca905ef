// Asks what is to be silenced, for how long and why, and says what that means.
import { computed, onMounted, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { time } from "../../core/format.js";
import { refusalText } from "../../core/refusals.js";
import { definitions } from "../../core/words.js";
import { rememberActor, session } from "../../core/session.js";
import { useFieldMistakes } from "../../parts/mistakes.js";
import { toast } from "../../parts/toast.js";
import { useRules } from "./rules.js";

const HOURS = [1, 4, 12, 24, 48, 168];

export default {
  name: "SilenceDialog",
  props: { of: { type: Object, required: true } }, // an alert, or {name}
  emits: ["close", "done"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const rules = useRules();
    const all = definitions.alert_rules.map(({ name }) => name);
    const dialog = ref(null);
    const form = ref({ rule: props.of.name, isOnly: Boolean(props.of.subject), preset: 4, hours: 4, reason: "", actor: session.actor });
    const mistakes = useFieldMistakes();
    const isBusy = ref(false);
    const hours = computed(() => Number(form.value.preset === "other" ? form.value.hours : form.value.preset));
    const until = computed(() => {
      const end = new Date(now() + hours.value * 3_600_000);
      return time(Number.isNaN(end.getTime()) ? null : end.toISOString()); // beyond what a date can be
    });
    const isOfOne = computed(() => Boolean(props.of.subject) && form.value.rule === props.of.name);
    const happens = computed(() => [
      t("monitoring.silence.happens.until", { rule: rules.title(form.value.rule), until: until.value }),
      ...["after", "end", "page"].map((word) => t(`monitoring.silence.happens.${word}`)),
    ]);
    const label = (n) => (n % 24 ? t("monitoring.silence.hours_of", { n }, n) : t("monitoring.silence.days_of", { n: n / 24 }, n / 24));

    async function agree() {
      if (!mistakes.check()) return;
      isBusy.value = true;
      rememberActor(form.value.actor);
      try {
        const body = { hours: hours.value, reason: form.value.reason, actor: form.value.actor.trim() };
        if (form.value.rule) body.name = form.value.rule;
        if (isOfOne.value && form.value.isOnly) body.subject = props.of.subject;
        const { silence } = await api.post("/alerts/silences", body);
        toast(t("monitoring.silence.done", { until: time(silence.until) }));
        dialog.value.close();
        emit("done");
      } catch (err) {
        mistakes.refuse(err, refusalText, { name: "rule" });
      } finally {
        isBusy.value = false;
      }
    }

    onMounted(() => dialog.value.showModal());
    return { t, rules, all, dialog, form, mistakes, formBox: mistakes.form, isBusy, until, isOfOne, happens, presets: HOURS, label, agree };
  },
  template: /* html */ `
    <dialog ref="dialog" class="dialog" aria-labelledby="silence-title" @close="$emit('close')">
      <form ref="formBox" novalidate @submit.prevent="agree">
        <h2 id="silence-title">{{ t("monitoring.silence.title") }}</h2>
        <label class="field">{{ t("monitoring.silence.rule") }}
          <select v-model="form.rule" name="rule">
            <option value="">{{ t("monitoring.silence.every_rule") }}</option>
            <option v-for="each in all" :key="each" :value="each">{{ rules.title(each) }}</option>
          </select></label>
        <fieldset v-if="isOfOne"><legend>{{ t("monitoring.silence.subject") }}</legend>
          <label class="check"><input v-model="form.isOnly" type="radio" name="subject" :value="true">{{ t("monitoring.silence.only", { subject: rules.scope(of) }) }}</label>
          <label class="check"><input v-model="form.isOnly" type="radio" name="subject" :value="false">{{ t("monitoring.silence.any") }}</label>
        </fieldset>
        <div class="row end pair">
          <label class="field">{{ t("monitoring.silence.hours") }}
            <select v-model="form.preset" name="preset">
              <option v-for="each in presets" :key="each" :value="each">{{ label(each) }}</option>
              <option value="other">{{ t("monitoring.silence.custom") }}</option>
            </select></label>
          <div v-if="form.preset === 'other'"><label class="field">{{ t("monitoring.silence.custom") }}
            <input v-model.number="form.hours" name="hours" type="number" min="0.1" max="8760" step="any" required v-bind="mistakes.attrs('hours')"></label>
            <field-mistake :at="['hours']" :text="mistakes.text('hours')" /></div>
        </div>
        <label class="field">{{ t("monitoring.silence.reason") }}
          <textarea v-model.trim="form.reason" name="reason" rows="2" maxlength="2000" required v-bind="mistakes.attrs('reason')"></textarea>
          <small class="hint">{{ t("monitoring.silence.reason_hint") }}</small></label>
        <field-mistake :at="['reason']" :text="mistakes.text('reason')" />
        <label class="field">{{ t("monitoring.silence.actor") }}<input v-model="form.actor" name="actor" maxlength="200" autocomplete="name" v-bind="mistakes.attrs('actor')"></label>
        <field-mistake :at="['actor']" :text="mistakes.text('actor')" />
        <p class="hint">{{ t("confirm.happens") }}</p>
        <ul class="happens"><li v-for="each in happens" :key="each">{{ each }}</li></ul>
        <mistake-list :others="mistakes.others.value" />
        <div class="actions">
          <button type="button" class="btn" @click="dialog.close()">{{ t("monitoring.silence.cancel") }}</button>
          <button class="btn primary" :disabled="isBusy">{{ t("monitoring.silence.action") }}</button>
        </div>
      </form>
    </dialog>
  `,
};
