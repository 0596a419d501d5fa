/** What a viewer has typed into the form of a warm set, over what it has in common with a task's. */

import { body, draftOf, newDraft } from "./create_draft.js";

const NAME = /^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$/;

/** @typedef {import("./parts/draft_form.js").Draft} Draft */

/** @returns {Draft} */
export const newSetDraft = () => ({ ...newDraft(), name: "", paused: "false" });

/** @param {Api.WarmSet} set @returns {Draft} */
export const draftOfSet = (set) => ({ ...newSetDraft(), ...draftOf(set), name: set.name, paused: String(set.paused) });

/** The body of the put. @param {Draft} draft */
export const setBody = (draft) => (draft.paused === "true" ? { ...body(draft), paused: true } : body(draft));

/** @param {Draft} draft @returns {import("./create_draft.js").DraftFault[]} */
export const setFaults = ({ name }) => (NAME.test(name.trim()) ? [] : [{ field: "name", key: "form.name.wrong" }]);
