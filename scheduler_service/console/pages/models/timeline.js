// Changes as a line of time, newest first.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { ago, time } from "../../core/format.js";
import { tell } from "./events.js";
import { partsOf } from "./records.js";

export default {
  name: "ModelTimeline",
  props: { events: { type: Array, required: true }, linked: { type: Boolean, default: false }, of: { type: String, default: "" } },
  setup(props) {
    const { t, locale } = useI18n();
    const told = computed(() => locale.value && props.events.map((event) => ({ event, ...tell(event, props.of) })));
    return { t, ago, time, told, partsOf };
  },
  template: /* html */ `
    <ol v-if="told.length" class="timeline">
      <li v-for="({ event, title, tone, reason, notes }, place) in told" :key="event.time + place" :class="tone">
        <p class="title"><router-link v-if="linked && event.event !== 'deleted' && partsOf(event.model_key)" :to="'/models/' + event.model_key">{{ title }}</router-link><template v-else>{{ title }}</template></p>
        <p class="meta"><time :datetime="event.time" :title="ago(event.time)">{{ time(event.time) }}</time> · {{ event.actor || t("models.nobody") }}</p>
        <p v-if="reason" class="reason">{{ reason }}</p>
        <p v-for="note in notes" :key="note" class="note">{{ note }}</p>
      </li>
    </ol>
    <p v-else class="hint">{{ t("models.no_events") }}</p>
  `,
};
