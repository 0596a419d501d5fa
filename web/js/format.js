/**
 * Numbers with their units, durations and times, as a person reads them.
 */

import { h } from "./dom.js";
import { formatter, t } from "./language.js";
import { language } from "./preferences.js";
import { now } from "./server.js";

export { number } from "./language.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const STEP = 1024;
const THREE_DIGITS = 99.95;

/** Binary units, as `ips` and Kubernetes count. @param {number} count */
export function bytes(count) {
  let [rest, power] = [count, 0];
  while (rest >= STEP && power < UNITS.length - 1) {
    rest /= STEP;
    power += 1;
  }
  const digits = power === 0 || rest >= THREE_DIGITS ? 0 : 1;
  return `${decimal(rest, digits)} ${UNITS[power]}`;
}

/** @param {number} count bytes per second */
export const speed = (count) => `${bytes(count)}/s`;

/** @param {number} value 0 to 100, as the server rounds it */
export const percent = (value) => `${decimal(value, value % 1 ? 1 : 0)}%`;

/** @param {number} value @param {number} digits */
function decimal(value, digits) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return formatter(`decimal${digits}`, () => new Intl.NumberFormat(language(), options)).format(
    value,
  );
}

/** @param {number} seconds @returns {string} the two largest units that matter */
export function duration(seconds) {
  if (seconds < 10) return t("time.s", { s: decimal(Math.max(seconds, 0), seconds % 1 ? 1 : 0) });
  const whole = Math.round(seconds);
  if (whole < 60) return t("time.s", { s: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 60 && whole % 60 === 0) return t("time.m", { m: minutes });
  if (minutes < 60) return t("time.ms", { m: minutes, s: whole % 60 });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t("time.hm", { h: hours, m: minutes % 60 });
  return t("time.dh", { d: Math.floor(hours / 24), h: hours % 24 });
}

/** An estimate, which is good to two digits at most. @param {number} seconds */
export const roughly = (seconds) => `≈ ${duration(rounded(Math.max(seconds, 1)))}`;

/** @param {number} seconds */
function rounded(seconds) {
  const unit = [36_000, 3_600, 600, 60].findIndex((least) => seconds >= least);
  const step = [3_600, 600, 60, 10][unit] ?? 1;
  return Math.round(seconds / step) * step;
}

/**
 * Seconds from one RFC 3339 time to another (or to now by the server's clock).
 * @param {string} from
 * @param {string} [to]
 */
export function between(from, to) {
  const end = to === undefined ? now() : Date.parse(to);
  return Math.max(0, (end - Date.parse(from)) / 1000);
}

/**
 * A moment in the viewer's zone, with the exact UTC on hover; `element.show(time)` changes it.
 * @param {string} [time] RFC 3339
 */
export function timeElement(time) {
  const element = h("time");
  if (time !== undefined) showTime(element, time);
  return Object.assign(element, { show: (/** @type {string} */ shown) => showTime(element, shown) });
}

/** @param {HTMLTimeElement} element @param {string} time */
function showTime(element, time) {
  if (element.dateTime === time) return;
  element.dateTime = time;
  element.title = time.replace("T", " ").replace("Z", " UTC");
  element.textContent = clockTime(time);
}

/** @param {string} time RFC 3339 @returns {string} in the viewer's zone; the date where not today */
export function clockTime(time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date(now()).toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  /** @type {Intl.DateTimeFormatOptions} */
  const options = isToday ? clock : { month: "short", day: "numeric", ...clock };
  return formatter(
    isToday ? "time" : "dateTime",
    () => new Intl.DateTimeFormat(language(), options),
  ).format(date);
}

/** `UTC+02:00` of the viewer's zone @param {Date} date */
export function offsetOf(date) {
  const minutes = -date.getTimezoneOffset();
  const part = (/** @type {number} */ value) => String(Math.floor(Math.abs(value))).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${part(minutes / 60)}:${part(minutes % 60)}`;
}

/** `nginx:latest +2` @param {string[]} images */
export const imagesInShort = (images) =>
  images.length === 1 ? images[0] : `${images[0]} +${images.length - 1}`;
