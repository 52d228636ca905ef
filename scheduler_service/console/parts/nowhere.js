// An address that leads nowhere: a link cut short, or one from another version.
import { useI18n } from "vue-i18n";
import { useRoute } from "vue-router";

export default {
  name: "Nowhere",
  setup: () => ({ t: useI18n().t, route: useRoute() }),
  template: /* html */ `
    <section class="page">
      <div class="page-head"><h1>{{ t("shell.nowhere") }}</h1></div>
      <div class="empty" role="alert">
        <p>{{ t("shell.nowhere_about") }} <code>{{ route.fullPath }}</code></p>
        <router-link class="btn primary" to="/schedule">{{ t("shell.schedule") }}</router-link>
      </div>
    </section>
  `,
};
