// How the experiment is set, and its report.
import { computed, ref } from "vue";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { number, time } from "../../core/format.js";
import ReportLinks from "../../parts/report_links.js";
import { toast } from "../../parts/toast.js";
import { problemText } from "./problem.js";
import { guardrailOf, isOpenEnded, level, useWording } from "./wording.js";

export default {
  name: "SettingsCard",
  components: { ReportLinks },
  props: { told: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const isMaking = ref(false);
    const report = ref(null);
    const facts = computed(() => {
      const { experiment: each, results } = props.told;
      const guards = Object.entries(each.guardrails).map(([name, margin]) => `${words.guard(name)} ${number(100 * margin)}${guardrailOf(name)?.test === "points" ? "" : " %"}`);
      return [
        each.owner && ["owner", each.owner],
        ["metric", words.capital(words.metric(each.success_metric))],
        ["began", time(each.start_time)],
        ["ends", isOpenEnded(each) ? of("settings.open_ended") : time(results.end_time)],
        ["coverage", level(results.coverage)],
        ["margin", level(each.margin)],
        ["alpha", level(each.alpha)],
        ["min_samples", number(each.min_samples)],
        ["guardrails", guards.join(" · ") || of("settings.off")],
        ["shadow", each.shadow ? level(each.shadow) : of("settings.off")],
        each.forced_variants && ["testers", Object.entries(each.forced_variants).map(([user, arm]) => `${user} → ${words.arm(arm)}`).join(" · ")],
        each.excluded_users && ["excluded", each.excluded_users.join(" · ")],
      ].filter(Boolean);
    });
    async function makeReport() {
      isMaking.value = true;
      try {
        const { experiment } = props.told;
        const days = Math.max(1, Math.ceil((now() - new Date(experiment.start_time)) / 86_400_000));
        const lang = words.t("shell.language") === "English" ? "zh" : "en";
        const made = await api.post("/reports/ab_test", { experiment_name: experiment.name, days: Math.min(3650, days), lang });
        report.value = { name: made.report, url: made.url };
        toast(of("settings.report_made"), "good");
      } catch (err) {
        toast(of("act.refused", { why: problemText(err) }), "bad");
      } finally {
        isMaking.value = false;
      }
    }
    return { ...words, facts, isMaking, report, makeReport };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="settings-title">
      <div class="row card-head"><h2 id="settings-title">{{ of("settings.heading") }}</h2>
        <span class="right row"><report-links v-if="report" :report="report" />
          <button type="button" class="btn small admin-only" :disabled="isMaking" @click="makeReport">{{ of("settings.report") }}</button></span></div>
      <dl class="facts"><div v-for="[name, value] in facts" :key="name"><dt>{{ of("settings." + name) }}</dt><dd>{{ value }}</dd></div></dl>
    </section>
  `,
};
