// Algorithm, status, tag and words to narrow the list by; on narrow screens the order, too.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { METRICS, SORT_NAMES, STATUSES, algorithmsOf, firstDirection, tagsOf } from "./records.js";

export default {
  name: "ModelFilters",
  props: { models: { type: Array, required: true }, wanted: { type: Object, required: true }, found: { type: Number, required: true } },
  emits: ["want"],
  setup(props) {
    const { t } = useI18n();
    const algorithms = computed(() => algorithmsOf(props.models).map((each) => each.algorithm));
    const tags = computed(() => tagsOf(props.models));
    const isNarrowed = computed(() => ["algorithm", "status", "tag", "text"].some((name) => props.wanted[name]));
    const sortName = (name) => (METRICS.some((each) => each.name === name) ? t(`models.metric_short.${name}`) : t(`models.${name}`));
    return { t, algorithms, tags, isNarrowed, sortName, firstDirection, STATUSES, SORT_NAMES };
  },
  template: /* html */ `
    <div class="row end filters" role="search" :aria-label="t('models.filters')">
      <label class="field grow">{{ t("models.search") }}
        <input type="search" name="q" :value="wanted.text" :placeholder="t('models.search_hint')" @input="$emit('want', { text: $event.target.value })"></label>
      <label class="field">{{ t("models.algorithm") }}
        <select name="algorithm" :value="wanted.algorithm" @change="$emit('want', { algorithm: $event.target.value })">
          <option value="">{{ t("models.all") }}</option><option v-for="each in algorithms" :key="each">{{ each }}</option></select></label>
      <label class="field">{{ t("models.status") }}
        <select name="status" :value="wanted.status" @change="$emit('want', { status: $event.target.value })">
          <option value="">{{ t("models.all") }}</option><option v-for="each in STATUSES" :key="each" :value="each">{{ t("status.model." + each) }}</option></select></label>
      <label class="field">{{ t("models.tag") }}
        <select name="tag" :value="wanted.tag" @change="$emit('want', { tag: $event.target.value })">
          <option value="">{{ t("models.all") }}</option><option v-for="each in tags" :key="each">{{ each }}</option></select></label>
      <label class="field only-narrow">{{ t("models.sort") }}
        <select name="sort" :value="wanted.sort" @change="$emit('want', { sort: $event.target.value, direction: firstDirection($event.target.value) })">
          <option v-for="each in SORT_NAMES" :key="each" :value="each">{{ sortName(each) }}</option></select></label>
      <span class="count" role="status">{{ t("models.found", { found, total: models.length }, models.length) }}</span>
      <button v-if="isNarrowed" type="button" class="btn quiet" @click="$emit('want', { algorithm: '', status: '', tag: '', text: '' })">{{ t("models.clear") }}</button>
    </div>
  `,
};
