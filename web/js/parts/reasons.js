/** Reason codes in words; a code that is newer than this page speaks for itself. */

import { hasWords, t } from "../language.js";

/** Those for which a retry cannot end differently before somebody has mended something. */
const PERMANENT = new Set([
  "ImageNotFound",
  "Unauthorized",
  "InvalidReference",
  "PlatformMismatch",
  "UnsupportedImage",
  "TLSError",
  "DiskFull",
  "Cancelled",
]);

/** @param {string} reason */
export const reasonInWords = (reason) => (hasWords(`reason.${reason}`) ? t(`reason.${reason}`) : "");

/** What to do about a reason, as far as that is known. @param {string} reason */
export function adviceFor(reason) {
  const hint = t(PERMANENT.has(reason) ? "reason.hint.mend" : "reason.hint.retry");
  return hasWords(`reason.do.${reason}`) ? `${hint} ${t(`reason.do.${reason}`)}` : hint;
}
