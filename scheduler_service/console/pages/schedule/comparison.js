// What the runs of two models say, above their schedules.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { hours, percent } from "../../core/format.js";
import { N_SEEDS, spread, verdict } from "./compare.js";

export default {
  name: "Comparison",
  props: { comparison: { type: Object, required: true } }, // {keys, runs, budgetMs}
  setup(props) {
    const { t } = useI18n();
    const rows = computed(() => props.comparison.keys.map((key, at) => ({ key, ...spread(props.comparison.runs[at]) })));
    const said = computed(() => {
      const { kind, difference_h: change } = verdict(props.comparison.runs, props.comparison.budgetMs);
      const [a, b] = rows.value;
      const size = { hours: hours(Math.abs(change)), percent: percent(Math.abs(change) / a.mean) };
      return t(`schedule.comparing.${kind}`, { a: a.key, b: b.key, n: Math.min(a.n, b.n), all: N_SEEDS, word: t(change < 0 ? "schedule.shorter" : "schedule.longer"), ...size });
    });
    const cutShort = computed(() => props.comparison.runs.flat().filter((run) => run.isCutShort).length);
    const n = computed(() => props.comparison.runs.flat().length);
    return { t, hours, rows, said, cutShort, n };
  },
  template: /* html */ `
    <section class="card comparison" :aria-label="t('schedule.comparing.title')">
      <p role="status"><strong>{{ said }}</strong></p>
      <p v-if="cutShort" class="warn">{{ t("schedule.comparing.cut_short", { n: cutShort, all: n }) }}</p>
      <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.comparing.title')"><table class="data">
        <thead><tr><th>{{ t("schedule.model") }}</th><th class="num">{{ t("schedule.comparing.runs") }}</th><th class="num">{{ t("schedule.comparing.least") }}</th><th class="num">{{ t("schedule.comparing.mean") }}</th><th class="num">{{ t("schedule.comparing.most") }}</th></tr></thead>
        <tbody><tr v-for="row in rows" :key="row.key"><td class="mono">{{ row.key }}</td><td class="num">{{ row.n }}</td><td class="num">{{ hours(row.least) }}</td><td class="num">{{ hours(row.mean) }}</td><td class="num">{{ hours(row.most) }}</td></tr></tbody>
      </table></div>
      <p class="hint">{{ t("schedule.comparing.shown") }}</p>
    </section>
  `,
};
