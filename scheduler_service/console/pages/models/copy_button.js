import { useI18n } from "vue-i18n";
import { toast } from "../../parts/toast.js";

export default {
  name: "CopyButton",
  props: { text: { type: String, required: true }, label: { type: String, required: true } },
  setup(props) {
    const { t } = useI18n();
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(props.text);
        toast(t("models.copied"), "good");
      } catch {
        toast(t("models.not_copied"), "info"); // plain HTTP from elsewhere has no clipboard
      }
    };
    return { t, copy };
  },
  template: `<button type="button" class="btn quiet small" :aria-label="label" :title="label" @click="copy">{{ t("models.copy") }}</button>`,
};
