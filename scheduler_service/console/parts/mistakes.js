// Mistakes of a form: each a sentence beside its field (FieldMistake), and all of them at the button (MistakeList).
import { nextTick, onBeforeUnmount, onMounted, ref, watch } from "vue";
import { useI18n } from "vue-i18n";

const nameOf = (path) => path.join(".");
const idOf = (path) => `mistake-${nameOf(path)}`;

/** What ties a control to its mistake, which FieldMistake shows; `place` names the field where its label does not. */
export const marked = (path, text, place) => ({
  "data-at": nameOf(path),
  ...(text ? { "aria-invalid": "true", "aria-describedby": idOf(path), "data-place": place } : {}),
});

/** The sentence beside a field; outside of its label, or it would become a part of the field's name. */
export const FieldMistake = {
  name: "FieldMistake",
  props: { at: { type: Array, required: true }, text: { type: String, default: "" } },
  setup: () => ({ idOf }),
  template: `<small v-if="text" :id="idOf(at)" class="error mistake">{{ text }}</small>`,
};

const WRONG = "[aria-invalid=true]";
const labelOf = (field) => [...(field.labels?.[0] ?? field.querySelector?.("legend") ?? field).childNodes].find((node) => node.textContent.trim())?.textContent.trim();
const placeOf = (field) => field.dataset.place ?? field.getAttribute("aria-label") ?? labelOf(field) ?? "";
const described = (field) => (field.getAttribute("aria-describedby") ?? "").split(" ").map((id) => id && document.getElementById(id));
const textOf = (field) => described(field).filter((each) => each?.classList.contains("error")).map((each) => each.textContent.trim()).join(" ");

/** Brings a field into sight, in whatever closed parts of the page it stands, and puts the cursor there. */
export function lead(field) {
  for (let part = field.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  field.scrollIntoView({ block: "center" });
  field.focus({ preventScroll: true });
}

/** The first field of a form with a mistake gets the cursor, once the page shows it. */
export async function leadToFirst(form) {
  await nextTick();
  const first = form?.querySelector(WRONG);
  if (first) lead(first);
}

/**
 * What the form around it shows beside its fields, counted and listed, in the order of the page; read out when it changes.
 * others: [{place, text}], what is wrong and has no field; isOn: false until somebody tried to send the form.
 */
export const MistakeList = {
  name: "MistakeList",
  props: { others: { type: Array, default: () => [] }, isOn: { type: Boolean, default: true } },
  setup(props) {
    const { t } = useI18n();
    const box = ref(null);
    const found = ref([]);
    const fields = new Map(); // key of an entry -> its field; elements are nothing to be made reactive
    const look = () => {
      const wrong = [...box.value.closest("form").querySelectorAll(WRONG)];
      fields.clear();
      const listed = wrong.map((field, key) => fields.set(key, field) && { key, place: placeOf(field), text: textOf(field) });
      if (JSON.stringify(listed) !== JSON.stringify(found.value)) found.value = listed;
    };
    const seen = new MutationObserver(look);
    onMounted(() => {
      seen.observe(box.value.closest("form"), { subtree: true, childList: true, characterData: true, attributeFilter: ["aria-invalid", "data-place"] });
      look();
    });
    onBeforeUnmount(() => seen.disconnect());
    watch(() => props.isOn, look);
    return { t, box, found, go: (key) => lead(fields.get(key)) };
  },
  template: /* html */ `
    <div ref="box" class="mistakes">
      <div v-if="isOn && found.length + others.length" class="error" role="alert">
        <strong>{{ t("mistakes.count", { n: found.length + others.length }, found.length + others.length) }}</strong>
        <ul>
          <li v-for="each in found" :key="each.key"><button type="button" @click="go(each.key)">{{ each.place }}<template v-if="each.text">: {{ each.text }}</template></button></li>
          <li v-for="each in others" :key="each.place + each.text"><template v-if="each.place">{{ each.place }}: </template>{{ each.text }}</li>
        </ul>
      </div>
    </div>
  `,
};

/** For a form of few fields: what the browser, or the service, finds wrong with each of them, by name. */
export function useFieldMistakes() {
  const { t } = useI18n();
  const form = ref(null);
  const found = ref({});
  const others = ref([]);
  const tell = (byName, more = []) => {
    [found.value, others.value] = [byName, more];
    return leadToFirst(form.value);
  };
  return {
    form,
    others,
    clear: () => tell({}),
    /** Whether the browser finds nothing wrong; tells what it finds. */
    check() {
      tell(foundByBrowser(form.value, t));
      return !Object.keys(found.value).length;
    },
    /** Tells what the service refused; `said` words its sentences, `names` are the fields where the body's are called otherwise. */
    refuse(err, said, names = {}) {
      const listed = (err.errors ?? []).map(({ loc, msg }) => [names[loc[0]] ?? loc[0], msg]);
      const [fields, rest] = [listed.filter(([name]) => form.value.elements[name]), listed.filter(([name]) => !form.value.elements[name])];
      tell(Object.fromEntries(fields), rest.length || !listed.length ? [{ place: "", text: said(err) }] : []);
    },
    /** For the control; its mistake goes when it is changed. */
    attrs: (name) => ({ ...marked([name], found.value[name]), onInput: () => delete found.value[name] }),
    text: (name) => found.value[name] ?? "",
  };
}

/** {field name: sentence} for the controls of a form that the browser finds wrong, in the words of the page. */
export function foundByBrowser(form, t) {
  const wrong = [...form.elements].filter((field) => field.name && field.willValidate && !field.validity.valid);
  return Object.fromEntries(wrong.map((field) => [field.name, sentence(field, t)]));
}

function sentence({ validity, min, max }, t) {
  if (validity.badInput) return t("mistakes.not_a_number");
  if (validity.valueMissing) return t("mistakes.missing");
  if (validity.stepMismatch) return t("mistakes.whole");
  return t("mistakes.range", { min, max });
}
