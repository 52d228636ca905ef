// The registry's page: the list, one model, the history of all changes, and registering.
import { computed, nextTick, watch } from "vue";
import { useRoute } from "vue-router";
import { useI18n } from "vue-i18n";
import { addMessages } from "../../core/i18n.js";
import { useStyle } from "../../core/style.js";
import { messages } from "./texts.js";
import ModelCompare from "./compare.js";
import ModelDetail from "./detail.js";
import ModelHistory from "./history.js";
import ModelList from "./list.js";
import ModelRegistration from "./registration.js";

addMessages(messages);
const styled = useStyle(new URL("style.css", import.meta.url));
const VIEWS = { list: "ModelList", compare: "ModelCompare", history: "ModelHistory", register: "ModelRegistration" };

export default {
  name: "Models",
  components: { ModelCompare, ModelDetail, ModelHistory, ModelList, ModelRegistration },
  async setup() {
    const route = useRoute();
    const { t } = useI18n();
    const name = computed(() => route.params.key || null);
    const view = computed(() => (route.query.view in VIEWS ? route.query.view : "list"));
    const links = { list: "list", compare: "compare_view", history: "history" };
    // A screen reader begins at what was opened, not at the link that led there.
    watch([name, view], async () => {
      await nextTick();
      document.getElementById("main").focus({ preventScroll: true });
      window.scrollTo(0, 0);
    });
    await styled;
    return { t, name, view, links, VIEWS };
  },
  template: /* html */ `
    <section class="page models">
      <model-detail v-if="name" :key="name" :name="name" />
      <template v-else>
        <div class="page-head">
          <h1 tabindex="-1">{{ t("models.title") }}</h1>
          <nav class="views" :aria-label="t('models.views')">
            <router-link v-for="(label, each) in links" :key="each" :to="{ path: '/models', query: each === 'list' ? {} : { view: each } }"
              :aria-current="view === each ? 'true' : undefined">{{ t("models." + label) }}</router-link>
          </nav>
          <router-link v-if="view !== 'register'" class="btn primary right admin-only" to="/models?view=register">{{ t("models.to_register") }}</router-link>
        </div>
        <component :is="VIEWS[view]" />
      </template>
    </section>
  `,
};
