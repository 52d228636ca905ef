// What a schedule is called and whose it is, so that it is found again; and its address.
import { reactive, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { refusalText } from "../../core/refusals.js";
import { session } from "../../core/session.js";
import { toast } from "../../parts/toast.js";
import { addressOf } from "./recorded.js";

export default {
  name: "Naming",
  props: { requestId: { type: String, required: true }, recorded: { type: Object, default: null } },
  emits: ["named"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const said = reactive({ name: props.recorded?.name ?? "", owner: props.recorded?.owner ?? "" });
    const typed = reactive({ name: "", owner: "" });
    const isOpen = ref(false);
    function begin() {
      Object.assign(typed, { name: said.name, owner: said.owner || session.actor });
      isOpen.value = true;
    }
    async function save() {
      const { name, owner } = { name: typed.name.trim(), owner: typed.owner.trim() };
      try {
        await api.put(`/runs/${encodeURIComponent(props.requestId)}/name`, { name: name || null, owner: owner || null });
        Object.assign(said, { name, owner });
        isOpen.value = false;
        toast(t("schedule.named"));
        emit("named", { name, owner });
      } catch (err) {
        if (err.name !== "AbortError") toast(refusalText(err), "bad");
      }
    }
    return { t, said, typed, isOpen, begin, save, addressOf };
  },
  template: /* html */ `
    <div class="row tight naming">
      <strong v-if="said.name" data-test="run-name">{{ said.name }}</strong><small v-if="said.owner" class="hint">{{ said.owner }}</small>
      <router-link class="hint" :to="addressOf([requestId])" :title="t('schedule.address_hint')">{{ t("schedule.address", { id: requestId.slice(0, 8) }) }}</router-link>
      <button v-if="!isOpen" type="button" class="btn small quiet" @click="begin">{{ t(said.name || said.owner ? "schedule.rename" : "schedule.give_name") }}</button>
      <slot v-if="!isOpen"></slot>
      <form v-else class="row tight" @submit.prevent="save" @keydown.esc="isOpen = false">
        <label class="field"><span>{{ t("schedule.run_name") }}</span><input v-model="typed.name" maxlength="200" name="run-name" autocomplete="off"></label>
        <label class="field"><span>{{ t("schedule.owner") }}</span><input v-model="typed.owner" maxlength="200" name="run-owner" autocomplete="name"></label>
        <button class="btn small primary">{{ t("schedule.save_name") }}</button>
        <button type="button" class="btn small quiet" @click="isOpen = false">{{ t("confirm.cancel") }}</button>
      </form>
    </div>
  `,
};
