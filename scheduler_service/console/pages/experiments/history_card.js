// What was done with the experiment, the newest first, with the figures that it rests on.
import { computed } from "vue";
import { ago, number, time } from "../../core/format.js";
import { shareOfCandidates } from "./list.js";
import { letter, level, useWording } from "./wording.js";

const TONE = { created: "info", described: "plain", started: "good", advanced: "good", promoted: "good", paused: "warn", reverted: "warn", arm_stopped: "bad", aborted: "bad", stopped: "plain", concluded: "plain", archived: "plain" };

export default {
  name: "HistoryCard",
  props: { told: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const actorOf = ({ actor }) => (["rollout", "guardrail"].includes(actor) ? of(`history.${actor}`) : actor);
    const guards = (line) => Object.entries(line.figures.guardrails ?? {});
    const reasonOf = ({ reason, reason_text }) => (reason_text.length ? words.sentences(reason_text) : reason);
    const candidates = computed(() => Object.keys(props.told.experiment.traffic_split).slice(1));
    const running = ({ after }) => candidates.value.filter((arm) => !after.stopped_arms?.includes(arm));
    const shareOf = (line) => (line.event === "promoted" ? 1 : line.after.status !== "active" ? 0 : (line.after.stage ?? shareOfCandidates(props.told.experiment, running(line))));
    const nameOf = ({ event, figures }) => (event === "arm_stopped" ? of("history.arm_stopped", { arm: letter(figures.arm ?? "?") }) : of(`history.${event}`));
    const lines = computed(() => [...props.told.history].reverse());
    return { ...words, lines, actorOf, reasonOf, guards, shareOf, nameOf, letter, TONE, ago, number, time, level };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="history-title">
      <h2 id="history-title">{{ of("history.heading") }}</h2>
      <ol class="timeline">
        <li v-for="line in lines" :key="line.id" :class="'is-' + TONE[line.event]" :data-event="line.event">
          <div class="row"><span class="badge" :class="TONE[line.event]">{{ nameOf(line) }}</span>
            <span class="hint">{{ of("history.share", { share: level(shareOf(line)) }) }}</span>
            <time class="hint right" :datetime="line.time" :title="ago(line.time)">{{ time(line.time) }}</time></div>
          <p v-if="reasonOf(line) || line.actor">{{ reasonOf(line) }} <small v-if="line.actor" class="hint">{{ of("history.by", { actor: actorOf(line) }) }}</small></p>
          <p v-for="[name, text] in Object.entries(line.figures.about ?? {})" :key="name" class="hint">{{ of("said." + name) }}: {{ text ?? "–" }}</p>
          <p v-if="line.figures.although_worse" class="hint">{{ of("history.although_worse") }}</p>
          <details v-if="line.figures.samples"><summary>{{ of("history.figures") }}</summary>
            <dl class="facts">
              <div><dt>{{ of("history.samples") }}</dt><dd>{{ Object.entries(line.figures.samples).map(([arm, count]) => letter(arm) + " " + number(count)).join(" · ") }}</dd></div>
              <div><dt>{{ of("history.verdict") }}</dt><dd>{{ word(line.figures.verdict) }}</dd></div>
              <div v-for="[name, each] in guards(line)" :key="name"><dt>{{ guard(name) }}</dt><dd>{{ term("guardrail_state", each.state) }}<template v-if="each.harm !== null"> ({{ number(100 * each.harm, 2) }})</template></dd></div>
            </dl>
          </details>
        </li>
      </ol>
    </section>
  `,
};
