// Asks for the API key: when the service wants one, or when the user opens it. A key is tried before it is kept.
import { computed, nextTick, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { checkAccess, tryKey } from "../core/access.js";
import { scopesText } from "../core/refusals.js";
import { noteAccess, rememberKey, session } from "../core/session.js";

export default {
  name: "KeyDialog",
  setup() {
    const { t } = useI18n();
    const dialog = ref(null);
    const key = ref("");
    const isKept = ref(false);
    const isBusy = ref(false);
    const takesKey = ref(true); // whether the service has keys at all
    const open = ref(null); // what can be done without a key: a list of scopes, null while that is not known
    const refusal = ref(null); // {word, detail} of the key that was tried
    watch(
      () => session.wanted,
      async (wanted) => {
        await nextTick();
        if (wanted) {
          [key.value, refusal.value, open.value] = ["", null, null];
          dialog.value.showModal();
          await look();
        } else if (dialog.value.open) dialog.value.close();
      },
    );

    /** What is so without a key: nobody is asked for one that is not needed. */
    async function look() {
      if (session.state === "untried" || session.state === "unreachable") await checkAccess();
      const found = await tryKey("");
      if (!found.isKnown) return;
      [open.value, takesKey.value] = [found.told.without_key, found.told.needs_key || found.told.knows_keys];
    }
    const word = computed(() => {
      if (open.value?.includes("admin")) return takesKey.value ? "optional" : "needless";
      return open.value?.length && !session.wanted?.detail ? "open" : "needed";
    });
    const done = (isEntered) => session.wanted?.resolve(isEntered);

    async function use() {
      isBusy.value = true;
      refusal.value = null;
      const found = await tryKey(key.value.trim());
      isBusy.value = false;
      if (!found.isKnown) {
        const why = found.isRefused ? "refused" : found.status === 429 ? "too_often" : "unreachable";
        refusal.value = { word: why, detail: found.detail };
        return;
      }
      // Where no key counts, one is not kept either: it would look as if it did.
      rememberKey(found.told.key ? key.value : "", isKept.value);
      noteAccess(found.told);
      done(true);
    }

    async function forget() {
      rememberKey("", false);
      await checkAccess();
      done(Boolean(open.value?.length)); // what was refused with the key may be open without
    }
    const shown = computed(() => {
      if (refusal.value) return refusal.value;
      if (!session.wanted?.detail) return session.key && session.state === "refused" ? { word: "refused", detail: "" } : null;
      return { word: session.key ? "refused" : "needed", detail: session.wanted.detail };
    });
    return { t, scopesText, dialog, key, isKept, isBusy, open, takesKey, word, shown, session, use, forget, done };
  },
  template: /* html */ `
    <dialog ref="dialog" class="dialog" aria-labelledby="key-title" @cancel.prevent="done(false)">
      <form @submit.prevent="use">
        <h2 id="key-title">{{ t("key.titles." + word) }}</h2>
        <p v-if="shown" class="error" role="alert">{{ t("key." + shown.word) }} <small v-if="shown.detail">{{ shown.detail }}</small></p>
        <p class="hint">{{ t("key.about." + word, { open: scopesText(open ?? []) }) }}</p>
        <p v-if="session.state === 'accepted'" class="hint">{{ t("key.present", { name: session.name, scopes: scopesText(session.scopes?.includes("admin") ? ["admin"] : (session.scopes ?? [])) }) }}</p>
        <template v-if="takesKey">
          <label class="field">{{ t("key.field") }}<input v-model="key" type="password" name="api-key" autocomplete="off" spellcheck="false" required autofocus></label>
          <label class="check"><input v-model="isKept" type="checkbox">{{ t("key.keep") }}</label>
        </template>
        <div class="actions">
          <button v-if="session.key" type="button" class="btn quiet" @click="forget">{{ t("key.forget") }}</button>
          <button type="button" class="btn" @click="done(false)">{{ t(takesKey ? "key.cancel" : "key.close") }}</button>
          <button v-if="takesKey" class="btn primary" :disabled="isBusy">{{ t("key.use") }}</button>
        </div>
      </form>
    </dialog>
  `,
};
