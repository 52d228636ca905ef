import { nextTick, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { rememberActor, session } from "../core/session.js";
import { question } from "./confirm.js";

export default {
  name: "ConfirmDialog",
  setup() {
    const { t } = useI18n();
    const dialog = ref(null);
    const reason = ref("");
    const actor = ref("");
    watch(question, async (asked) => {
      await nextTick();
      if (asked) {
        [reason.value, actor.value] = ["", session.actor];
        if (!dialog.value.open) dialog.value.showModal();
      } else if (dialog.value.open) dialog.value.close();
    });
    const refuse = () => question.value?.resolve(null);
    const agree = () => {
      rememberActor(actor.value);
      question.value.resolve({ reason: reason.value.trim(), actor: actor.value.trim() });
    };
    return { t, dialog, reason, actor, question, refuse, agree };
  },
  template: /* html */ `
    <dialog ref="dialog" class="dialog" aria-labelledby="confirm-title" @cancel.prevent="refuse">
      <form v-if="question" @submit.prevent="agree">
        <h2 id="confirm-title">{{ question.title }}</h2>
        <ul v-if="question.beware.length" class="beware" data-beware><li v-for="each in question.beware" :key="each">{{ each }}</li></ul>
        <template v-if="question.grounds.length">
          <p class="hint">{{ t("confirm.grounds") }}</p>
          <ul class="happens"><li v-for="each in question.grounds" :key="each">{{ each }}</li></ul>
        </template>
        <template v-if="question.happens.length">
          <p class="hint">{{ t("confirm.happens") }}</p>
          <ul class="happens"><li v-for="each in question.happens" :key="each">{{ each }}</li></ul>
        </template>
        <template v-if="question.reason !== 'none'">
          <label class="field"><span>{{ t("confirm.reason") }} <small v-if="question.reason === 'optional'" class="hint">{{ t("confirm.optional") }}</small></span>
            <textarea v-model="reason" name="reason" rows="2" maxlength="2000" :required="question.reason === 'required'"></textarea>
            <small v-if="question.reason === 'required'" class="hint">{{ t("confirm.reason_needed") }}</small></label>
          <label class="field"><span>{{ t("confirm.actor") }} <small class="hint">{{ t("confirm.optional") }}</small></span>
            <input v-model="actor" name="actor" maxlength="200" autocomplete="name"></label>
        </template>
        <label v-if="question.consent" class="check"><input type="checkbox" name="consent" required>{{ question.consent }}</label>
        <div class="actions">
          <button type="button" class="btn" @click="refuse">{{ t("confirm.cancel") }}</button>
          <button class="btn" :class="question.danger ? 'danger' : 'primary'" autofocus>{{ question.action }}</button>
        </div>
      </form>
    </dialog>
  `,
};
