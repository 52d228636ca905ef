// The silences in force: what nobody is told of, until when, and why; each can be lifted.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { duration_s, time } from "../../core/format.js";
import { refusalText } from "../../core/refusals.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { useRules } from "./rules.js";
import SilenceDialog from "./silence_dialog.js";

export default {
  name: "Silences",
  components: { SilenceDialog },
  props: { load: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const told = computed(() => props.load.data.value);
    const rules = useRules();
    const silences = computed(() => told.value?.silences ?? []);
    const heading = ref(null);
    const isAsking = ref(false);
    const left = (silence) => t("monitoring.silence.left", { time: duration_s((new Date(silence.until) - now()) / 1_000) });

    async function lift(silence) {
      const ask = (word) => t(`monitoring.silence.ask_lift.${word}`, { rule: rules.title(silence.name) });
      if (!(await confirm({ title: ask("title"), happens: [ask("happens")], action: ask("action"), reason: "none" }))) return;
      try {
        await api.delete(`/alerts/silences/${silence.id}`);
        toast(ask("done"));
      } catch (err) {
        if (err.status === 404) toast(ask("gone"), "info");
        else toast(refusalText(err), "bad");
      }
      await props.load.reload();
      await nextTick();
      heading.value?.focus(); // the row is gone
    }

    return { t, time, told, rules, silences, heading, isAsking, left, lift };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="silences-title">
      <div class="row head">
        <h2 id="silences-title" ref="heading" tabindex="-1">{{ t("monitoring.silence.list") }}</h2>
        <button type="button" class="btn small right admin-only" @click="isAsking = true">{{ t("monitoring.silence.new") }}</button>
      </div>
      <load-state :load="load">
        <p v-if="!silences.length" class="hint">{{ t("monitoring.silence.none") }}</p>
        <ul v-else class="silences">
          <li v-for="each in silences" :key="each.id">
            <div><strong>{{ rules.title(each.name) }}</strong><template v-if="each.subject"> · {{ rules.scope(each) }}</template>
              <p class="hint">{{ each.reason }}<template v-if="each.actor"> — {{ each.actor }}</template></p></div>
            <div class="when">{{ t("monitoring.silence.until") }} {{ time(each.until) }}<br><small class="hint">{{ left(each) }}</small></div>
            <button type="button" class="btn small admin-only" @click="lift(each)">{{ t("monitoring.silence.lift") }}</button>
          </li>
        </ul>
      </load-state>
      <silence-dialog v-if="isAsking" :of="{ name: 'silent_service' }" @close="isAsking = false" @done="load.reload()" />
    </section>
  `,
};
