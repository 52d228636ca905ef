// Before anything changes, what will happen is said in sentences, and asked for.
import { shallowRef } from "vue";

export const question = shallowRef(null);

/**
 * null when the user thinks better of it, else {reason, actor}.
 * beware: sentences that speak against it, told first; grounds: what else is known; consent: what has to be ticked all the same ("": nothing);
 * happens: sentences; action: the button's text; reason: "none", "optional" or "required".
 */
export function confirm({ title, beware = [], grounds = [], consent = "", happens = [], action, danger = false, reason = "optional" }) {
  question.value?.resolve(null);
  return new Promise((resolve) => {
    question.value = {
      ...{ title, beware, grounds, consent, happens, action, danger, reason },
      resolve: (answer) => {
        question.value = null;
        resolve(answer);
      },
    };
  });
}
