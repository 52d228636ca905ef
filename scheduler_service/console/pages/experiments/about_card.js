// What people call the experiment, what they expect and whose it is; changed here.
import { computed, inject, nextTick, reactive, ref, shallowRef } from "vue";
import { api } from "../../core/api.js";
import { session } from "../../core/session.js";
import { toast } from "../../parts/toast.js";
import AboutFields, { LONGEST } from "./about_fields.js";
import { problemText } from "./problem.js";
import { useWording } from "./wording.js";

const NAMES = Object.keys(LONGEST);

export default {
  name: "AboutCard",
  components: { AboutFields },
  props: { experiment: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const path = inject("experiment-path");
    const refresh = inject("experiment-refresh");
    const dialog = ref(null);
    const isSending = ref(false);
    const refused = shallowRef(null);
    const texts = reactive({ title: "", hypothesis: "", owner: "" });
    const fault = (name) => refused.value?.of?.(name) ?? "";
    const isBeside = computed(() => NAMES.some(fault)); // what is wrong stands beside its field

    async function open() {
      refused.value = null;
      for (const name of NAMES) texts[name] = props.experiment[name] ?? "";
      dialog.value.showModal();
      await nextTick();
      dialog.value.querySelector("input")?.focus();
    }
    const close = () => dialog.value.close();

    async function save() {
      const said = Object.fromEntries(NAMES.map((name) => [name, texts[name].trim() || null]));
      const changed = NAMES.filter((name) => said[name] !== (props.experiment[name] ?? null));
      if (!changed.length) return close();
      isSending.value = true;
      try {
        await api.post(`${path}/describe`, { ...Object.fromEntries(changed.map((name) => [name, said[name]])), actor: session.actor });
        close();
        toast(of("said.saved"), "good");
        await refresh();
      } catch (err) {
        refused.value = err;
      } finally {
        isSending.value = false;
      }
      return undefined;
    }
    return { ...words, dialog, isSending, refused, texts, fault, isBeside, open, close, save, problemText };
  },
  template: /* html */ `
    <div class="about-card" data-about>
      <div class="row"><strong v-if="experiment.title" class="about-title">{{ experiment.title }}</strong>
        <span v-if="experiment.owner" class="hint">{{ of("said.owned", { owner: experiment.owner }) }}</span>
        <span v-if="!experiment.title && !experiment.owner && !experiment.hypothesis" class="hint">{{ of("said.none") }}</span>
        <button v-if="!experiment.archived_at" type="button" class="btn small admin-only" @click="open">{{ of("said.change") }}</button></div>
      <p v-if="experiment.hypothesis" class="hint">{{ of("said.assumed", { hypothesis: experiment.hypothesis }) }}</p>
      <dialog ref="dialog" class="dialog" :aria-label="of('said.change_of', { name: experiment.name })">
        <form novalidate @submit.prevent="save">
          <h2>{{ of("said.change_of", { name: experiment.name }) }}</h2>
          <about-fields :texts="texts" :fault="fault" />
          <p v-if="refused && !isBeside" class="error" role="alert">{{ problemText(refused) }}</p>
          <div class="actions"><button type="button" class="btn" @click="close">{{ of("form.cancel") }}</button><button class="btn primary" :disabled="isSending">{{ of("said.save") }}</button></div>
        </form>
      </dialog>
    </div>
  `,
};
