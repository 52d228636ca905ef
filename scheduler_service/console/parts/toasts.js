import { useI18n } from "vue-i18n";
import { closeToast, toasts } from "./toast.js";

export default {
  name: "Toasts",
  setup: () => ({ t: useI18n().t, toasts, closeToast }),
  template: /* html */ `
    <div class="toasts" role="status" aria-live="polite">
      <div v-for="each in toasts" :key="each.id" class="toast" :class="each.kind">
        <span>{{ each.text }}</span>
        <button type="button" class="btn quiet" :aria-label="t('toast.close')" @click="closeToast(each.id)">×</button>
      </div>
    </div>
  `,
};
