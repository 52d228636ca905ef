// Two chosen versions side by side; which ones stands in the address, so that it can be shared.
import { computed, ref, watch } from "vue";
import { useRoute, useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { one, shortName } from "./records.js";
import { curvesOf, curvesOption, groupsOf } from "./side_by_side.js";

export default {
  name: "ModelCompare",
  setup() {
    const { t, locale } = useI18n();
    const route = useRoute();
    const router = useRouter();
    const isOnlyDifferent = ref(false);
    const asked = computed(() => ["a", "b"].map((side) => one(route.query[side])));
    const load = useLoad(async (signal) => {
      const { models, default_model: answers } = await api.get("/models", {}, { signal });
      const chosen = choice(models, answers.model_key, asked.value);
      const both = await Promise.all(chosen.map((name) => (name ? api.get(`/models/${encodeURIComponent(name)}`, {}, { signal }) : null)));
      return { models, both: both.map((each) => each?.model ?? null) };
    });
    watch(asked, (now, before) => now.join() !== before.join() && load.reload());

    /** What the address does not say: the default model, and the newest other one. */
    function choice(models, answers, [a, b]) {
      const keys = [answers, ...models.map((each) => each.model_key)].filter(Boolean);
      const first = a || keys.find((key) => key !== b) || "";
      return [first, b || keys.find((key) => key !== first) || ""];
    }
    const both = computed(() => load.data.value?.both ?? []);
    const isReady = computed(() => both.value.length === 2 && both.value.every(Boolean));
    const keys = computed(() => both.value.map((each) => each?.model_key ?? ""));
    const names = computed(() => keys.value.map(shortName));
    const want = (a, b) => router.replace({ path: "/models", query: { view: "compare", a, b } });
    const choose = (at, key) => want(...keys.value.map((each, place) => (place === at ? key : each)));

    const groups = computed(() => (locale.value && isReady.value ? groupsOf(both.value, t) : []));
    const shownOf = ({ rows }) => rows.filter((each) => each.differs || !isOnlyDifferent.value);
    const differences = computed(() => groups.value.flatMap(({ rows }) => rows).filter((each) => each.differs).length);
    const curves = computed(() => (locale.value && isReady.value ? curvesOption(both.value, names.value, t) : null));
    const without = computed(() => both.value.filter((each) => each && !curvesOf(each).length).map((each) => shortName(each.model_key)));
    return { t, load, both, isReady, keys, names, want, choose, groups, shownOf, differences, curves, without, isOnlyDifferent, shortName };
  },
  template: /* html */ `
    <load-state :load="load">
      <section class="card compare" :aria-label="t('models.side_by_side')">
        <div class="row end filters">
          <label v-for="(side, at) in ['a', 'b']" :key="side" class="field grow">{{ t("models.side_" + side) }}
            <select :name="side" :value="keys[at]" @change="choose(at, $event.target.value)">
              <option v-for="each in load.data.value.models" :key="each.model_key" :value="each.model_key">{{ shortName(each.model_key) }}{{ each.is_default ? " · " + t("models.is_default") : "" }}{{ each.tags.length ? " · " + each.tags.join(", ") : "" }}</option></select></label>
          <button type="button" class="btn" :disabled="!isReady" @click="want(keys[1], keys[0])">{{ t("models.swap") }}</button>
          <label class="check"><input v-model="isOnlyDifferent" type="checkbox">{{ t("models.only_different") }}</label>
        </div>
        <p v-if="!isReady" class="hint">{{ t("models.needs_two") }}</p>
        <template v-else>
          <p v-if="keys[0] === keys[1]" class="hint" role="status">{{ t("models.same_model") }}</p>
          <p v-else class="hint" role="status">{{ t("models.differences", { count: differences }, differences) }}</p>
          <table class="data sides" role="table">
            <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{{ t("models.figure") }}</th><th v-for="(name, at) in names" :key="at" role="columnheader" scope="col"><router-link :to="'/models/' + keys[at]">{{ name }}</router-link> <span v-if="both[at].is_default" class="badge mark-default">{{ t("models.is_default") }}</span></th></tr></thead>
            <tbody v-for="group in groups" :key="group.title" role="rowgroup">
              <tr v-if="shownOf(group).length" role="row" class="group"><th role="rowheader" scope="rowgroup" colspan="3">{{ group.title }}</th></tr>
              <tr v-for="each in shownOf(group)" :key="each.name" role="row" :class="{ differs: each.differs }">
                <th role="rowheader" scope="row">{{ each.name }}<span v-if="each.differs" class="mark" aria-hidden="true"> ≠</span><span v-if="each.differs" class="unseen">{{ t("models.is_different") }}</span></th>
                <td v-for="(text, at) in each.texts" :key="at" role="cell" :data-label="names[at]" :class="{ better: each.better === 'ab'[at] }">{{ text }}<span v-if="each.better === 'ab'[at]" class="good"> ✓<span class="unseen">{{ t("models.is_better") }}</span></span></td>
              </tr>
            </tbody>
          </table>
          <p class="hint below">{{ t("models.side_about") }}</p>
        </template>
      </section>
      <section v-if="isReady" class="card" :aria-label="t('models.curves')">
        <h2>{{ t("models.curves") }}</h2>
        <e-chart v-if="curves" :option="curves" :label="t('models.curves_label', { a: names[0], b: names[1] })" height="22rem" />
        <p v-if="without.length" class="hint">{{ t("models.no_curve", { names: without.join(", ") }) }}</p>
      </section>
    </load-state>
  `,
};
