/** What a viewer has typed into the form of a warm set, over what it has in common with a task's. */

import { body, draftOf, newDraft } from "./create_draft.js";

const NAME = /^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$/;

/**
 * What a set has beside a task, as the form names it: `group.field`, with what is typed where the
 * group says nothing. A group is sent where one of its fields says something else.
 * @type {Record<string, Record<string, string>>}
 */
const GROUPS = {
  schedule: { cron: "", timeZone: "", window: "", joins: "window" },
  refresh: { tags: "" },
  pin: { wanted: "false", until: "" },
  gate: { condition: "false", taint: "", openAfter: "" },
};
/** Whether it is there says the same: it is not sent. */
const IMPLIED = "pin.wanted";

/** @typedef {import("./parts/draft_form.js").Draft} Draft */

/** @returns {Draft} */
export function newSetDraft() {
  /** @type {Draft} */
  const draft = { ...newDraft(), name: "", paused: "false" };
  for (const [key, , value] of fields()) draft[key] = value;
  return draft;
}

/** @returns {[string, string, string][]} key, group and what is typed where nothing is said */
function fields() {
  return Object.entries(GROUPS).flatMap(([group, own]) =>
    Object.entries(own).map(([field, value]) => /** @type {[string, string, string]} */ ([`${group}.${field}`, group, value])),
  );
}

/** @param {Api.WarmSet} set @returns {Draft} */
export function draftOfSet(set) {
  /** @type {Draft} */
  const draft = { ...newSetDraft(), ...draftOf(set), name: set.name, paused: String(set.paused) };
  for (const [key, group] of fields()) {
    const told = /** @type {Record<string, any>} */ (set)[group];
    const value = told?.[key.slice(group.length + 1)];
    if (value !== undefined) draft[key] = String(value);
    if (key === IMPLIED && told) draft[key] = "true";
  }
  return draft;
}

/** The body of the put: what differs from the defaults. @param {Draft} draft */
export function setBody(draft) {
  const made = body(draft);
  if (draft.paused === "true") made.paused = true;
  for (const [key, group, silent] of fields()) {
    const text = draft[key].trim();
    if (text === silent) continue;
    const own = /** @type {Record<string, unknown>} */ (made[group] ?? {});
    if (key !== IMPLIED) own[key.slice(group.length + 1)] = text === "true" ? true : text;
    made[group] = own;
  }
  return made;
}

/** @param {Draft} draft @returns {import("./create_draft.js").DraftFault[]} */
export const setFaults = ({ name }) => (NAME.test(name.trim()) ? [] : [{ field: "name", key: "form.name.wrong" }]);
