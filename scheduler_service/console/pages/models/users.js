// Who needs a model: the default configuration and experiments.
import { useI18n } from "vue-i18n";

export default {
  name: "ModelUsers",
  props: { outlook: { type: Object, required: true } },
  setup: () => ({ t: useI18n().t }),
  template: /* html */ `
    <section class="card">
      <h2>{{ t("models.used") }}</h2>
      <ul v-if="outlook.used_by.length" class="plain">
        <li v-for="(user, place) in outlook.used_by" :key="place">
          <router-link v-if="user.experiment" :to="'/experiments/' + encodeURIComponent(user.experiment)">{{ t("models.user." + user.role, { name: user.experiment }) }}</router-link>
          <template v-else>{{ t("models.user.default") }}</template>
          <small class="hint named">{{ t("models.default_as", { name: user.named }) }}</small>
        </li>
      </ul>
      <p v-else class="hint">{{ t("models.unused") }}</p>
      <p class="below"><router-link :to="{ path: '/monitoring', query: { tab: 'trends', model: outlook.model_key } }">{{ t("models.live_figures") }} →</router-link></p>
    </section>
  `,
};
