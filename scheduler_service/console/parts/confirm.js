// Before anything changes, what will happen is said in sentences, and asked for.
import { shallowRef } from "vue";

export const question = shallowRef(null);

/**
 * null when the user thinks better of it, else {reason, actor}.
 * happens: sentences; action: the button's text; reason: "none", "optional" or "required".
 */
export function confirm({ title, happens = [], action, danger = false, reason = "optional" }) {
  question.value?.resolve(null);
  return new Promise((resolve) => {
    question.value = {
      ...{ title, happens, action, danger, reason },
      resolve: (answer) => {
        question.value = null;
        resolve(answer);
      },
    };
  });
}
