// Asks for the API key: when the service wants one, or when the user opens it.
import { nextTick, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { rememberKey, session } from "../core/session.js";

export default {
  name: "KeyDialog",
  setup() {
    const { t } = useI18n();
    const dialog = ref(null);
    const key = ref("");
    const isKept = ref(false);
    watch(
      () => session.wanted,
      async (wanted) => {
        await nextTick();
        if (wanted) {
          key.value = "";
          dialog.value.showModal();
        } else if (dialog.value.open) dialog.value.close();
      },
    );
    const done = (isEntered) => session.wanted?.resolve(isEntered);
    const use = () => {
      rememberKey(key.value, isKept.value);
      done(true);
    };
    const forget = () => {
      rememberKey("", false);
      done(false);
    };
    return { t, dialog, key, isKept, session, use, forget, done };
  },
  template: /* html */ `
    <dialog ref="dialog" class="dialog" aria-labelledby="key-title" @cancel.prevent="done(false)">
      <form @submit.prevent="use">
        <h2 id="key-title">{{ t("key.title") }}</h2>
        <p v-if="session.wanted?.detail" class="error" role="alert">{{ t(session.key ? "key.refused" : "key.needed") }} <small>{{ session.wanted.detail }}</small></p>
        <p class="hint">{{ t("key.about") }}</p>
        <label class="field">{{ t("key.field") }}<input v-model="key" type="password" name="api-key" autocomplete="off" spellcheck="false" required autofocus></label>
        <label class="check"><input v-model="isKept" type="checkbox">{{ t("key.keep") }}</label>
        <div class="actions">
          <button v-if="session.key" type="button" class="btn quiet" @click="forget">{{ t("key.forget") }}</button>
          <button type="button" class="btn" @click="done(false)">{{ t("key.cancel") }}</button>
          <button class="btn primary">{{ t("key.use") }}</button>
        </div>
      </form>
    </dialog>
  `,
};
