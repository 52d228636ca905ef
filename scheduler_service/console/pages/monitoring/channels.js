// Where alerts are told, and whether that works.
import { computed, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { refusalText } from "../../core/refusals.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";

export default {
  name: "Channels",
  props: { load: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const channels = computed(() => props.load.data.value?.channels ?? []);
    const outbox = computed(() => props.load.data.value?.outbox ?? { waiting: 0, given_up: 0 });
    const results = ref(null);
    const isBusy = ref(false);
    const of = (name) => results.value?.find((each) => each.channel === name);

    async function test() {
      const ask = (word, more) => t(`monitoring.channels.ask.${word}`, more ?? {});
      const happens = [ask("happens", { names: channels.value.join(", ") })];
      if (!(await confirm({ title: ask("title"), happens, action: ask("action"), reason: "none" }))) return;
      isBusy.value = true;
      results.value = null;
      try {
        results.value = (await api.post("/alerts/test")).channels;
      } catch (err) {
        toast(refusalText(err), "bad");
      } finally {
        isBusy.value = false;
      }
    }

    return { t, channels, outbox, results, isBusy, of, test };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="channels-title">
      <div class="row head">
        <h2 id="channels-title">{{ t("monitoring.channels.title") }}</h2>
        <span v-if="outbox.waiting" class="badge warn">{{ t("monitoring.channels.waiting", { n: outbox.waiting }) }}</span>
        <span v-if="outbox.given_up" class="badge bad">{{ t("monitoring.channels.given_up", { n: outbox.given_up }) }}</span>
        <button v-if="channels.length" type="button" class="btn small right admin-only" :disabled="isBusy" @click="test">{{ isBusy ? t("monitoring.channels.testing") : t("monitoring.channels.test") }}</button>
      </div>
      <load-state :load="load">
        <p v-if="!channels.length" class="hint">{{ t("monitoring.channels.none") }}</p>
        <ul v-else class="channels" :aria-label="t('monitoring.channels.result')" aria-live="polite">
          <li v-for="name in channels" :key="name"><code>{{ name }}</code>
            <span v-if="of(name)" class="badge" :class="of(name).delivered ? 'good' : 'bad'">{{ t(of(name).delivered ? "monitoring.channels.delivered" : "monitoring.channels.failed") }}</span>
            <p v-if="of(name)?.error" class="error">{{ of(name).error }}</p>
          </li>
        </ul>
      </load-state>
    </section>
  `,
};
