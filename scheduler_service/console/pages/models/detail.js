// All that is known of one model, and what can be done with it.
import { computed, nextTick, ref } from "vue";
import { useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { refusalText } from "../../core/refusals.js";
import ModelActions from "./actions.js";
import ModelComparison from "./comparison.js";
import ModelFacts from "./facts.js";
import ModelFigures from "./figures.js";
import ModelTags from "./tags.js";
import ModelTimeline from "./timeline.js";
import ModelUsers from "./users.js";
import CopyButton from "./copy_button.js";
import { STABLE, shortName } from "./records.js";
import { armTexts, shareText, stableText } from "./shares.js";

/** What may be done is not always known (503: the experiments' file is broken); the model is shown all the same. */
function unlessGone(err) {
  if (err.status !== 503) throw err;
  return { problem: err };
}

export default {
  name: "ModelDetail",
  components: { CopyButton, ModelActions, ModelComparison, ModelFacts, ModelFigures, ModelTags, ModelTimeline, ModelUsers },
  props: { name: { type: String, required: true } },
  setup(props) {
    const { t } = useI18n();
    const router = useRouter();
    const head = ref(null);
    const path = `/models/${encodeURIComponent(props.name)}`;
    const load = useLoad(
      async (signal) => {
        const more = { signal };
        const { model } = await api.get(path, {}, more);
        const [outlook, list, history] = await Promise.all([
          api.get(`/models/${model.model_key}/outlook`, {}, more).catch(unlessGone),
          api.get("/models", { algorithm: model.algorithm }, more),
          api.get("/models/history", { model_key: model.model_key }, more),
        ]);
        return { model, outlook, models: list.models, defaultModel: list.default_model, answering: list.answering, history };
      },
      { everyMs: 15_000 },
    );
    const isMissing = computed(() => load.error.value?.status === 404);

    async function changed() {
      await load.reload();
      await nextTick();
      head.value?.focus();
    }
    const gone = () => router.push("/models");
    return { t, load, head, isMissing, changed, gone, refusalText, shortName, armTexts, shareText, stableText, STABLE };
  },
  template: /* html */ `
    <p class="crumbs"><router-link to="/models">← {{ t("models.back") }}</router-link></p>
    <div v-if="isMissing" class="empty" role="alert">
      <p>{{ t("models.not_found", { name }) }}</p>
      <p class="row center"><router-link class="btn" :to="{ path: '/models', query: { view: 'history', model_key: name } }">{{ t("models.see_history") }}</router-link>
        <router-link class="btn primary" to="/models">{{ t("models.back") }}</router-link></p>
    </div>
    <load-state v-else :load="load">
      <template v-if="load.data.value">
      <div class="page-head model-head">
        <h1 ref="head" tabindex="-1">{{ shortName(load.data.value.model.model_key) }}</h1>
        <status-badge kind="model" :value="load.data.value.model.status" />
        <span v-if="load.data.value.model.is_default" class="badge mark-default" :title="t('models.default_about')">{{ t("models.is_default") }}</span>
        <span v-if="load.data.value.model.tags.includes(STABLE)" class="badge mark-stable" :title="t('models.stable_about')">{{ t("models.stable") }}</span>
        <span class="key"><code>{{ load.data.value.model.model_key }}</code><copy-button :text="load.data.value.model.model_key" :label="t('models.copy_key')" /></span>
      </div>
      <p class="hint answers" data-answers>{{ shareText(load.data.value.answering, load.data.value.model.model_key, t) }}<template v-for="each in armTexts(load.data.value.answering, load.data.value.model.model_key, t)" :key="each"> · {{ each }}</template></p>
      <p v-if="load.data.value.model.tags.includes(STABLE) && !load.data.value.model.is_default" class="plainly" data-elsewhere>{{ stableText(load.data.value.model, load.data.value.defaultModel, t) }}</p>
      <p v-if="load.data.value.model.description" class="description">{{ load.data.value.model.description }}</p>
      <model-tags :model="load.data.value.model" :models="load.data.value.models" @changed="changed" @stale="load.reload" />
      <div v-if="load.data.value.outlook.problem" class="card error" role="alert"><strong>{{ t("models.no_actions") }}</strong> {{ refusalText(load.data.value.outlook.problem) }} <button type="button" class="btn" @click="load.reload">{{ t("load.retry") }}</button></div>
      <model-actions v-else :model="load.data.value.model" :outlook="load.data.value.outlook" :models="load.data.value.models" @changed="changed" @stale="load.reload" @gone="gone" />
      <div class="columns">
        <div class="stack">
          <model-figures :model="load.data.value.model" />
          <model-comparison :model="load.data.value.model" :models="load.data.value.models" />
        </div>
        <div class="stack">
          <model-facts :model="load.data.value.model" :models="load.data.value.models" />
          <model-users v-if="!load.data.value.outlook.problem" :outlook="load.data.value.outlook" />
          <section class="card"><h2>{{ t("models.history") }}</h2><model-timeline :events="load.data.value.history.events" :of="load.data.value.model.model_key" /></section>
        </div>
      </div>
      </template>
    </load-state>
  `,
};
