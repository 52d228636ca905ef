// The table of all models. What is asked for stands in the address, so that it can be shared.
import { computed, ref, watch } from "vue";
import { useRoute, useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import ModelAnswering from "./answering.js";
import ModelFilters from "./filters.js";
import ModelRow from "./row.js";
import { METRICS, SORT_NAMES, firstDirection, one, select } from "./records.js";

const SHOWN_AT_ONCE = 100;
const COLUMNS = ["model", "status", ...METRICS.map(({ name }) => name), "created"];

export default {
  name: "ModelList",
  components: { ModelAnswering, ModelFilters, ModelRow },
  setup() {
    const { t } = useI18n();
    const route = useRoute();
    const router = useRouter();
    const list = useLoad((signal) => api.get("/models", {}, { signal }), { everyMs: 60_000 });
    // A registry of a thousand models is 2.5 MB: asked for again only when something has changed.
    const changes = useLoad((signal) => api.get("/models/history", { limit: 1 }, { signal }), { everyMs: 5_000 });
    watch(() => changes.data.value?.total, (now, before) => before !== undefined && list.reload());
    const shown = ref(SHOWN_AT_ONCE);

    const wanted = computed(() => {
      const [algorithm, status, tag, q, sort, dir] = ["algorithm", "status", "tag", "q", "sort", "dir"].map((name) => one(route.query[name]));
      const by = SORT_NAMES.includes(sort) ? sort : "created";
      return { algorithm, status, tag, text: q, sort: by, direction: dir ? Number(dir === "up") || -1 : firstDirection(by) };
    });
    function want(changes) {
      const { algorithm, status, tag, text, sort, direction } = { ...wanted.value, ...changes };
      const query = {
        ...{ algorithm, status, tag, q: text },
        ...(sort === "created" ? {} : { sort }),
        ...(direction === firstDirection(sort) ? {} : { dir: direction > 0 ? "up" : "down" }),
      };
      router.replace({ path: "/models", query: Object.fromEntries(Object.entries(query).filter(([, value]) => value)) });
    }
    const sortBy = (name) =>
      want({ sort: name, direction: wanted.value.sort === name ? -wanted.value.direction : firstDirection(name) });

    const models = computed(() => list.data.value?.models ?? []);
    const found = computed(() => select(models.value, wanted.value));
    watch(wanted, () => (shown.value = SHOWN_AT_ONCE));
    const label = (column) => (column === "model" || column === "status" || column === "created" ? t(`models.${column}`) : t(`models.metric_short.${column}`));
    const order = (column) => (wanted.value.sort !== column ? "none" : wanted.value.direction > 0 ? "ascending" : "descending");
    return { t, list, models, found, shown, wanted, want, sortBy, label, order, COLUMNS, METRICS, SHOWN_AT_ONCE };
  },
  template: /* html */ `
    <load-state :load="list" :empty="!models.length">
      <template #empty>
        <p>{{ t("models.none") }}</p>
        <router-link class="btn primary admin-only" to="/models?view=register">{{ t("models.to_register") }}</router-link>
      </template>
      <model-answering :models="models" :default-model="list.data.value.default_model" :answering="list.data.value.answering" />
      <div class="card">
        <model-filters :models="models" :wanted="wanted" :found="found.length" @want="want" />
        <div v-if="found.length" class="scroll">
          <table class="data cards" role="table">
            <thead role="rowgroup"><tr role="row">
              <th v-for="column in COLUMNS" :key="column" role="columnheader" scope="col" :aria-sort="order(column)" :class="{ num: METRICS.some((each) => each.name === column) }">
                <button type="button" class="sort" :class="order(column)" :title="t('models.sort_by', { column: label(column) })" @click="sortBy(column)">{{ label(column) }}</button>
              </th>
            </tr></thead>
            <tbody role="rowgroup">
              <model-row v-for="each in found.slice(0, shown)" :key="each.model_key" :model="each"
                :answering="list.data.value.answering" @tag="want({ tag: $event })" />
            </tbody>
          </table>
        </div>
        <div v-else class="empty">
          <p>{{ t("models.none_fits") }}</p>
          <button type="button" class="btn" @click="want({ algorithm: '', status: '', tag: '', text: '' })">{{ t("models.clear") }}</button>
        </div>
        <p v-if="found.length > shown"><button type="button" class="btn" @click="shown += SHOWN_AT_ONCE">{{ t("models.more", { count: Math.min(SHOWN_AT_ONCE, found.length - shown) }) }}</button></p>
      </div>
    </load-state>
  `,
};
