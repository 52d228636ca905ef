// What `useLoad` found: a skeleton, an error with a way on, an empty state, or the slot.
import { computed, unref } from "vue";
import { useI18n } from "vue-i18n";
import { refusalText } from "../core/refusals.js";

export default {
  name: "LoadState",
  props: { load: { type: Object, required: true }, empty: { type: Boolean, default: false }, explain: { type: Function, default: refusalText } },
  setup(props) {
    const { t } = useI18n();
    return { t, data: computed(() => unref(props.load.data)), error: computed(() => unref(props.load.error)) };
  },
  template: /* html */ `
    <div v-if="error" class="card error" :class="{ stale: data }" role="alert">
      <strong>{{ t("load.failed") }}</strong> {{ explain(error) }}
      <span v-if="data">{{ t("load.stale") }}</span>
      <button type="button" class="btn" @click="load.reload()">{{ t("load.retry") }}</button>
    </div>
    <slot v-if="data && !empty" />
    <div v-else-if="data" class="empty"><slot name="empty" /></div>
    <div v-else-if="!error" class="skeleton" role="status"><span class="unseen">{{ t("load.loading") }}</span><i></i><i></i><i></i></div>
  `,
};
