// Head, navigation and the place where the pages go.
import { computed, nextTick, onErrorCaptured, onMounted, ref, watch } from "vue";
import { useRoute } from "vue-router";
import { useI18n } from "vue-i18n";
import { checkAccess } from "../core/access.js";
import { setLanguage } from "../core/i18n.js";
import { scopesText } from "../core/refusals.js";
import { askForKey, session } from "../core/session.js";
import { PAGES } from "../pages/index.js";
import ConfirmDialog from "./confirm_dialog.js";
import KeyDialog from "./key_dialog.js";
import { closeBadToasts } from "./toast.js";
import Toasts from "./toasts.js";

export default {
  name: "Shell",
  components: { ConfirmDialog, KeyDialog, Toasts },
  setup() {
    const { t, locale } = useI18n();
    const route = useRoute();
    const main = ref(null);
    const failure = ref(null);
    const current = computed(() => route.path.split("/")[1]);
    // A screen reader begins at the new page, not at the link that led there.
    watch(current, async (now, before) => {
      failure.value = null;
      closeBadToasts();
      if (!before) return;
      await nextTick();
      main.value?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    });
    onErrorCaptured((err) => {
      console.error(err);
      failure.value = err;
      return false;
    });
    /** What the key allows, or what is open without one; where it is everything, that is said in one word. */
    const may = computed(() => {
      if (!["accepted", "open"].includes(session.state) || !session.scopes?.length) return "";
      return scopesText(session.scopes.includes("admin") ? ["admin"] : session.scopes);
    });
    onMounted(checkAccess);
    const switchLanguage = () => setLanguage(locale.value === "zh" ? "en" : "zh");
    return { t, may, locale, main, failure, current, session, pages: PAGES.map((each) => each.name), switchLanguage, askForKey };
  },
  template: /* html */ `
    <a class="skip" href="#main" @click.prevent="main.focus()">{{ t("shell.skip") }}</a>
    <header class="top">
      <router-link class="brand" to="/schedule"><img src="console/icon.svg" alt="" width="28" height="28"><span>{{ t("shell.product") }}</span></router-link>
      <nav :aria-label="t('shell.navigation')">
        <router-link v-for="page in pages" :key="page" :to="'/' + page" :class="{ on: current === page }"
          :aria-current="current === page ? 'page' : undefined">{{ t("shell." + page) }}</router-link>
      </nav>
      <div class="tools">
        <a class="quiet" href="docs" target="_blank" rel="noopener">{{ t("shell.docs") }}</a>
        <button type="button" class="btn quiet" @click="askForKey('')">
          <span v-if="session.state !== 'needless'" class="dot" :class="session.state" aria-hidden="true"></span>{{ t("shell.key_states." + session.state) }}<small v-if="may" class="scopes">{{ may }}</small>
        </button>
        <button type="button" class="btn quiet" @click="switchLanguage" :lang="locale === 'zh' ? 'en' : 'zh-CN'">{{ t("shell.language") }}</button>
      </div>
    </header>
    <main id="main" ref="main" tabindex="-1">
      <div v-if="failure" class="card error" role="alert"><strong>{{ t("shell.page_failed") }}</strong> {{ failure.message }}</div>
      <router-view v-else v-slot="{ Component }">
        <Suspense v-if="Component"><component :is="Component" /><template #fallback><p class="hint pad" role="status">{{ t("load.loading") }}</p></template></Suspense>
      </router-view>
    </main>
    <key-dialog />
    <confirm-dialog />
    <toasts />
  `,
};
