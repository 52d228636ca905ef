// What a schedule made from where things stand says more: what was reported, and what differs from the published plan.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { fixed, hours, number } from "../../core/format.js";
import { said, term } from "../../core/words.js";

/** Further columns of a step: [heading, text], of those that the answer has. */
export function moreOf(step, t) {
  const columns = [];
  if (step.status) columns.push([t("schedule.replanned.status"), term("step_status", step.status)]);
  if (step.published_start !== undefined) {
    columns.push([t("schedule.replanned.published_start"), step.published_start === null ? "–" : fixed(step.published_start)]);
    columns.push([t("schedule.replanned.shift"), step.shift === null ? "–" : fixed(step.shift)]);
  }
  return columns;
}

export default {
  name: "Replanned",
  props: { result: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const warnings = computed(() => (props.result.warnings ?? []).map(said));
    const unpinned = computed(() => (props.result.unpinned ?? []).join(t("schedule.replanned.and")));
    return { t, warnings, unpinned, hours, number };
  },
  template: /* html */ `
    <section v-if="result.data_date !== undefined" class="replanned" data-test="replanned">
      <p>{{ t("schedule.replanned.from", { hours: hours(result.data_date) }) }}
        <template v-if="result.changes">{{ t("schedule.replanned.changes", { moved: number(result.changes.moved), crews: number(result.changes.crews_changed), hours: hours(result.changes.total_shift) }) }}</template></p>
      <p v-if="unpinned">{{ t("schedule.replanned.unpinned", { steps: unpinned }) }}</p>
      <ul v-if="warnings.length" class="warn"><li v-for="each in warnings" :key="each">{{ each }}</li></ul>
    </section>
  `,
};
