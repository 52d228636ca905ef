// A status in a word and a colour; the word alone is enough.
import { useI18n } from "vue-i18n";

const TONES = {
  registered: "plain", validated: "info", deployed: "good", retired: "mute",
  scheduled: "plain", active: "good", paused: "warn", stopped: "mute", completed: "info", concluded: "mute",
  warning: "warn", critical: "bad", firing: "bad", resolved: "good",
};

export default {
  name: "StatusBadge",
  props: { kind: { type: String, required: true }, value: { type: String, default: "" } },
  setup(props) {
    const { t, te } = useI18n();
    const text = () => (te(`status.${props.kind}.${props.value}`) ? t(`status.${props.kind}.${props.value}`) : props.value);
    return { text, tone: () => TONES[props.value] ?? "plain" };
  },
  template: `<span class="badge" :class="tone()">{{ text() }}</span>`,
};
