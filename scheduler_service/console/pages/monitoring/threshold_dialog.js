// Asks from which figure on a rule is to fire, and why.
import { computed, onMounted, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { number } from "../../core/format.js";
import { refusalText } from "../../core/refusals.js";
import { rememberActor, session } from "../../core/session.js";
import { toast } from "../../parts/toast.js";

/** People type shares in percent: what they type, divided by this, is what the service is told. */
const PER = { share: 100 };

export default {
  name: "ThresholdDialog",
  props: { row: { type: Object, required: true } }, // of GET /alerts/thresholds, with its title
  emits: ["close", "done"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const per = PER[props.row.unit] ?? 1;
    const typed = (value) => (value === null ? "" : Number((value * per).toPrecision(12)));
    const dialog = ref(null);
    const form = ref({ value: typed(props.row.value), reason: "", actor: session.actor });
    const errors = ref(null);
    const isBusy = ref(false);
    const most = typed(props.row.most);
    const unit = computed(() => t(`monitoring.thresholds.units.${props.row.unit}`));
    const hint = computed(() => t("monitoring.thresholds.limits", { most: number(most, 6), unit: unit.value }));

    async function agree() {
      isBusy.value = true;
      errors.value = null;
      rememberActor(form.value.actor);
      try {
        const value = Number((Number(form.value.value) / per).toPrecision(12));
        await api.put(`/alerts/thresholds/${props.row.name}`, { value, reason: form.value.reason, actor: form.value.actor.trim() });
        toast(t("monitoring.thresholds.done", { rule: props.row.title }));
        dialog.value.close();
        emit("done");
      } catch (err) {
        errors.value = err;
      } finally {
        isBusy.value = false;
      }
    }

    onMounted(() => dialog.value.showModal());
    return { t, refusalText, number, dialog, form, errors, isBusy, most, unit, hint, agree };
  },
  template: /* html */ `
    <dialog ref="dialog" class="dialog" aria-labelledby="threshold-title" @close="$emit('close')">
      <form @submit.prevent="agree">
        <h2 id="threshold-title">{{ t("monitoring.thresholds.change_of", { rule: row.title }) }}</h2>
        <label class="field">{{ t("monitoring.thresholds.value", { unit }) }}
          <input v-model="form.value" name="value" type="number" min="0" :max="most" step="any" required autofocus aria-describedby="threshold-limits">
          <small id="threshold-limits" class="hint">{{ hint }}</small></label>
        <label class="field">{{ t("confirm.reason") }}
          <textarea v-model.trim="form.reason" name="reason" rows="2" maxlength="2000" required></textarea>
          <small class="hint">{{ t("confirm.reason_needed") }}</small></label>
        <label class="field"><span>{{ t("confirm.actor") }} <small class="hint">{{ t("confirm.optional") }}</small></span><input v-model="form.actor" name="actor" maxlength="200" autocomplete="name"></label>
        <p class="hint">{{ t("confirm.happens") }}</p>
        <ul class="happens"><li v-for="word in ['at_once', 'ends', 'kept']" :key="word">{{ t("monitoring.thresholds.happens." + word) }}</li></ul>
        <p v-if="errors" class="error" role="alert">{{ refusalText(errors) }} {{ errors.of("value") }}</p>
        <div class="actions">
          <button type="button" class="btn" @click="dialog.close()">{{ t("confirm.cancel") }}</button>
          <button class="btn primary" :disabled="isBusy">{{ t("monitoring.thresholds.action") }}</button>
        </div>
      </form>
    </dialog>
  `,
};
